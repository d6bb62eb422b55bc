"""What every picture has in common: ink, size, credit, and a file that is not larger than it must be."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

DPI = 100
INK, FAINT, BLUE, GREEN = "#222222", "#9a9a9a", "#1f5fa8", "#1a9641"
COLOURS = (BLUE, "#d95f02", GREEN, "#7b3294", "#a6761d", "#666666")
LARGE = 300_000  # bytes above which a picture is reduced to 256 colours


def figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches: no window, no global state."""
    made = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    return made


def finish(made: Figure, path: str | Path, title: str, credit: str) -> None:
    """Title on top, credit at the bottom, PNG on disk."""
    if title:
        made.suptitle(title, fontsize=12, color=INK, parse_math=False)
    if credit:
        lines = textwrap.fill(credit, round(17 * made.get_figwidth()))
        made.supxlabel(lines, fontsize=7, color=FAINT, x=0.99, ha="right", parse_math=False)
    picture = io.BytesIO()
    made.savefig(picture, format="png")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if picture.tell() <= LARGE:
        Path(path).write_bytes(picture.getvalue())
    else:
        Image.open(picture).convert("RGB").quantize(256).save(path, format="png", optimize=True)


def tidy(axes: Axes) -> None:
    """Two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)


def wrap(text: str, width: int, lines: int) -> str:
    """At most `lines` lines of `width` letters."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" ..."))


def plain(labels: Sequence[object]) -> None:
    """Take dollar signs in captions as they are, not as formulas."""
    for label in labels:
        label.set_parse_math(False)  # type: ignore[attr-defined]


def show(axes: Axes, image: NDArray[np.generic], frame: str = "#dddddd", width: float = 1.0) -> None:
    """An image without ticks, in a frame."""
    axes.imshow(image, interpolation="lanczos" if min(image.shape[:2]) >= 32 else "nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=width)
