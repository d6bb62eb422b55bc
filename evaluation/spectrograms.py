"""Spectrograms: what a method sees of recordings, and which part of it is hidden or asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from evaluation.figures import INK, figure, finish, plain, wrap

MARK = "#ffffff"  # over hidden stretches, on the dark colours of a spectrogram
CELL = (3.4, 1.25)  # inches
NARROW = 0.02  # share of the width below which there is no room for a word


class Panel:
    """One spectrogram.

    Args:
        power: (f, bands), logarithms.
        seconds: what it lasts.
        marked: (g,) bool over the same time, which of g equal stretches are hidden or asked for; None marks nothing.
        words: [(start, end, text)] in seconds, written below: phones, say.
    """

    def __init__(
        self,
        power: ArrayLike,
        seconds: float,
        marked: ArrayLike | None = None,
        words: Sequence[tuple[float, float, str]] = (),
    ) -> None:
        self.power = np.asarray(power, dtype=np.float64)
        if self.power.ndim != 2 or 0 in self.power.shape:
            raise ValueError(f"spectrogram of shape {self.power.shape}; pass one row per frame, (f, bands).")
        if not seconds > 0:
            raise ValueError(f"spectrogram of {seconds} seconds; it must last longer than 0.")
        self.seconds, self.words = seconds, words
        self.spans = [] if marked is None else spans(np.asarray(marked, dtype=np.bool_), seconds)


def spans(marked: NDArray[np.bool_], seconds: float) -> list[tuple[float, float]]:
    """Runs of True in (g,) as (start, end) in seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))  # starts and ends
    step = seconds / max(1, len(marked))
    return [(float(start) * step, float(end) * step) for start, end in edges.reshape(-1, 2)]


def spectrogram_sheet(
    columns: Mapping[str, Sequence[Panel]], path: str | Path, title: str = "", credit: str = ""
) -> None:
    """Draw columns of spectrograms under their titles, one row per recording; marked stretches are greyed.

    Raises ValueError when there is nothing to draw or the columns have different lengths.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"spectrogram_sheet: columns of {lengths} panels; pass one or more of the same number each.")
    rows = next(iter(lengths.values()))
    worded = any(panel.words for column in columns.values() for panel in column)
    drawing = figure(CELL[0] * len(columns) * (1 if len(columns) > 1 else 2), 0.6 + (CELL[1] + 0.15 * worded) * rows)
    grid = drawing.subplots(rows, len(columns), squeeze=False)
    for place, (name, column) in enumerate(columns.items()):
        for row, panel in enumerate(column):
            axes = grid[row, place]
            _draw(axes, panel)
            if row == 0:
                axes.set_title(wrap(name, 44, 2), fontsize=9, color=INK, parse_math=False)
            if row == rows - 1 and not panel.words:
                axes.set_xlabel("seconds", fontsize=8)
    finish(drawing, path, title, credit)


def _draw(axes: Axes, panel: Panel) -> None:
    low, high = np.percentile(panel.power, (5, 99.5))
    bands = panel.power.shape[1]
    axes.imshow(
        panel.power.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=max(high, low + 1e-6),
        extent=(0, panel.seconds, 0, bands), interpolation="nearest",
    )  # fmt: skip
    for start, end in panel.spans:
        axes.axvspan(start, end, color=MARK, alpha=0.55, linewidth=0)
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.set_xlim(0, panel.seconds)
    for start, end, word in panel.words:
        axes.axvline(start, color=MARK, linewidth=0.4, alpha=0.6)
        if end - start < NARROW * panel.seconds:
            continue
        axes.text((start + end) / 2, -0.02 * bands, word, fontsize=6, color=INK, ha="center", va="top",
                  parse_math=False)  # fmt: skip
    if panel.words:
        axes.set_xticks([])
    plain(axes.get_xticklabels())
