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


def shift_curves(
    shares: Mapping[str, Mapping[str, Sequence[float]]], path: str | Path, title: str = "", credit: str = ""
) -> None:
    """Draw accuracy by the level of a shift, one panel per kind and one line per row: {row: {kind: shares at level 0,
    which is clean, 1, 2, ...}}.

    Raises ValueError without any kind.
    """
    kinds = list(dict.fromkeys(kind for row in shares.values() for kind in row))
    if not kinds:
        raise ValueError("shift_curves: there is no shift to draw; measure one at least.")
    drawing = figure(8, 0.6 + 2.2 * -(-len(kinds) // 3))
    panels = drawing.subplots(-(-len(kinds) // 3), 3, sharey=True, squeeze=False).ravel()
    for axes, kind in zip(panels, kinds, strict=False):
        for number, (name, row) in enumerate(shares.items()):
            values = [share * 100 for share in row[kind]]
            axes.plot(values, color=COLOURS[number % len(COLOURS)], marker="o", markersize=3, label=name)
        axes.set_title(kind, fontsize=9, parse_math=False)
        axes.set_xticks(range(max(len(row[kind]) for row in shares.values())))
        tidy(axes)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    drawing.supylabel("accuracy, %", fontsize=9)
    panels[0].legend(frameon=False, fontsize=8)
    finish(drawing, path, title, credit)


def method_dots(
    scores: Mapping[str, Mapping[str, float | Sequence[float]]],
    bands: Mapping[str, Mapping[str, Sequence[float]]],
    levels: Mapping[str, Mapping[str, float]],
    path: str | Path,
    title: str = "",
    credit: str = "",
) -> None:
    """Draw one row per method and one panel per number, every run a dot: {panel: {method: share, or one per run}}.

    bands: {panel: {method: shares}}, drawn from the lowest to the highest behind the method's dots: what it started
    from. levels: {panel: {name: share}}, upright lines for what has no row. Raises ValueError without any dot.
    """
    names = list(dict.fromkeys(name for panel in scores.values() for name in panel))
    if not names:
        raise ValueError("method_dots: there is no method to draw; measure one at least.")
    drawing = figure(3.0 + 3.2 * len(scores), 1.2 + 0.26 * len(names))
    panels = drawing.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axes, (panel, dots) in zip(panels, scores.items(), strict=True):
        label: str | None = "at random"  # of the first band alone
        for place, name in enumerate(names):
            band = [share * 100 for share in bands.get(panel, {}).get(name, [])]
            if band:
                axes.barh(place, max(band) - min(band), 0.7, min(band), color="#dddddd", label=label)
                label = None
            values = np.atleast_1d(np.asarray(dots.get(name, []), dtype=np.float64)) * 100
            axes.plot(values, [place] * len(values), "o", color=COLOURS[0], markersize=5)
        for number, (name, share) in enumerate(levels.get(panel, {}).items()):
            style = ("--", ":", "-.")[number % 3]
            axes.axvline(share * 100, color=COLOURS[1 + number % 5], linestyle=style, linewidth=1.2, label=name)
        axes.set_title(f"{panel}, %", fontsize=10, parse_math=False)
        tidy(axes)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    if panels[-1].get_legend_handles_labels()[0]:
        panels[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    finish(drawing, path, title, credit)
