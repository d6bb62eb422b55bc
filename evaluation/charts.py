"""Charts of a study: accuracy against the number of labels, and a grid of numbers as a heat map."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import matrix
from evaluation.figures import COLOURS, INK, figure, finish, tidy


def label_curve(
    curves: Mapping[str, Mapping[int, float | Sequence[float]]], path: str | Path, title: str = "", credit: str = ""
) -> None:
    """Draw accuracy against labelled images on a logarithmic axis, one line per name: {name: {labels: share, or one
    share per seed}}. Seeds are drawn as their mean and the band from the lowest to the highest.

    Raises ValueError without any point.
    """
    if not any(curves.values()):
        raise ValueError("label_curve: there is no point to draw; measure at one number of labels at least.")
    drawing = figure(7, 4)
    axes = drawing.add_subplot()
    for number, (name, curve) in enumerate(curves.items()):
        at = sorted(curve)
        seeds = [np.atleast_1d(np.asarray(curve[count], dtype=np.float64)) * 100 for count in at]
        colour, style = COLOURS[number // 2 % len(COLOURS)], ("-", "--")[number % 2]
        axes.plot(at, [each.mean() for each in seeds], style, color=colour, marker="o", markersize=4, label=name)
        if any(len(each) > 1 for each in seeds):
            low, high = [each.min() for each in seeds], [each.max() for each in seeds]
            axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    counts = sorted({count for curve in curves.values() for count in curve})
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("labelled training images")
    axes.set_ylabel("accuracy on held-out images, %")
    tidy(axes)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    finish(drawing, path, title, credit)


def heat_map(
    values: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    path: str | Path,
    title: str = "",
    credit: str = "",
) -> None:
    """Draw shares, (rows, columns), as percentages in coloured cells; a negative number is a cell without a value.

    Raises ValueError when names and values do not agree.
    """
    shares = matrix(values, "values")
    if shares.shape != (len(rows), len(columns)):
        raise ValueError(f"heat_map: values {shares.shape} for {len(rows)} rows and {len(columns)} columns.")
    known = np.ma.masked_less(shares * 100, 0)
    drawing = figure(2.2 + 1.1 * len(columns), 1.0 + 0.45 * len(rows))
    axes = drawing.add_subplot()
    axes.imshow(known, cmap="viridis", aspect="auto")
    middle = (known.min() + known.max()) / 2
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if 0 <= share * 100 < middle else INK
        axes.text(column, row, f"{share * 100:.1f}" if share >= 0 else "–", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(False)
    finish(drawing, path, title, credit)
