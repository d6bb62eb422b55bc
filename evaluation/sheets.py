"""Sheets of images: the columns of a pretext task side by side, and where in an image a model finds its features."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.figures import INK, Pixels, figure, finish, plain, show, wrap

Columns = Mapping[str, NDArray[np.floating] | Sequence[str]]

CELL = 1.15  # inches
FACE = 3.0  # of an image's height at most, for wide ones


def panel_sheet(columns: Columns, path: str | Path, title: str = "", credit: str = "") -> None:
    """Draw columns under their titles, one row per example.

    columns: {title: n images (n, h, w, 3) in [0, 1], or n short texts}. Raises ValueError when there is nothing to draw
    or the columns have different lengths.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"panel_sheet: columns of {lengths} examples; pass one or more of the same number each.")
    rows = next(iter(lengths.values()))
    widths = [_width(column) for column in columns.values()]
    drawing = figure(0.2 + CELL * sum(widths), 0.5 + CELL * rows)
    grid = drawing.add_gridspec(rows, len(columns), width_ratios=widths)
    for place, (name, column) in enumerate(columns.items()):
        for row, content in enumerate(column):
            axes = drawing.add_subplot(grid[row, place])
            if isinstance(content, str):
                axes.set_axis_off()
                words = "\n".join(wrap(line, round(13 * widths[place]), 4) for line in content.splitlines())
                axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, color=INK, parse_math=False)
            else:
                show(axes, np.clip(content, 0, 1))
            if row == 0:
                axes.set_title(wrap(name, round(14 * widths[place]), 3), fontsize=9, color=INK, parse_math=False)
    finish(drawing, path, title, credit)


def saliency_sheet(
    images: Sequence[Pixels],
    maps: Mapping[str, ArrayLike],
    path: str | Path,
    title: str = "",
    credit: str = "",
) -> None:
    """Draw images (h, w, 3) uint8 in a row and below them, per model, each one's map over its greyed copy.

    maps: {model: (n, y, x)}, not negative, of any resolution; each is scaled by its own largest value, so that places
    of one image compare and images do not. Raises ValueError when the numbers of images and maps differ.
    """
    count = len(images)
    for name, found in maps.items():
        if np.asarray(found).shape[:1] != (count,):
            raise ValueError(f"saliency_sheet: {count} images and {len(np.asarray(found))} maps of {name!r}.")
    drawing = figure(1.0 + CELL * count, 0.3 + CELL * (1 + len(maps)))
    axes = drawing.subplots(1 + len(maps), count, squeeze=False)
    for place, image in enumerate(images):
        show(axes[0, place], image)
        for row, found in enumerate(maps.values(), 1):
            h, w = image.shape[:2]
            grey = np.asarray(image, dtype=np.float64) @ [0.299, 0.587, 0.114] / 255
            axes[row, place].imshow(grey, cmap="gray", vmin=0, vmax=1.3, extent=(0, w, h, 0))
            heat = np.asarray(found, dtype=np.float64)[place]
            heat = heat / max(float(heat.max()), 1e-12)
            axes[row, place].imshow(
                heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6, interpolation="bicubic", extent=(0, w, h, 0)
            )
            axes[row, place].set_xticks([])
            axes[row, place].set_yticks([])
    for row, name in enumerate(["image", *maps]):
        axes[row, 0].set_ylabel(wrap(name, 16, 2), fontsize=9, color=INK)
        plain([axes[row, 0].yaxis.label])
    finish(drawing, path, title, credit)


def _width(column: NDArray[np.floating] | Sequence[str]) -> float:
    """In cells: texts take a little more than a square image, wide images what they need up to a bound."""
    if isinstance(column[0], str):
        return 1.3
    h, w = np.asarray(column[0]).shape[:2]
    return float(np.clip(w / h, 1, FACE))
