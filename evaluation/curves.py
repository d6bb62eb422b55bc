"""Charts of a sound encoder: a score by layer, by step ahead, over training, and how evenly codes are used."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from numpy.typing import ArrayLike

from evaluation.figures import BLUE, COLOURS, FAINT, INK, figure, finish, plain, tidy

Scores = Mapping[str, float | Sequence[float]]


def layer_curve(
    curves: Mapping[str, Scores],
    levels: Mapping[str, float],
    path: str | Path,
    ylabel: str = "accuracy on held-out frames, %",
    title: str = "",
    credit: str = "",
) -> None:
    """Draw a score by layer, one line per row: {row: {layer: share, or one share per seed}}; seeds as their mean and
    the band from the lowest to the highest. levels: {row: share} of what has no layers, as dashed lines.

    Raises ValueError without any point.
    """
    layers = list(dict.fromkeys(layer for curve in curves.values() for layer in curve))
    if not layers:
        raise ValueError("layer_curve: there is no layer to draw; measure one at least.")
    drawing = figure(7, 4)
    axes = drawing.add_subplot()
    for number, (name, curve) in enumerate(curves.items()):
        at = [layers.index(layer) for layer in curve]
        seeds = [np.atleast_1d(np.asarray(values, dtype=np.float64)) * 100 for values in curve.values()]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(at, [each.mean() for each in seeds], color=colour, marker="o", markersize=4, label=name)
        if any(len(each) > 1 for each in seeds):
            low, high = [each.min() for each in seeds], [each.max() for each in seeds]
            axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    for number, (name, share) in enumerate(levels.items()):
        axes.axhline(share * 100, color=FAINT, linestyle=("--", ":", "-.")[number % 3], linewidth=1.2, label=name)
    axes.set_xticks(range(len(layers)), layers)
    plain(axes.get_xticklabels())
    axes.set_ylabel(ylabel)
    tidy(axes)
    plain(axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5)).get_texts())
    finish(drawing, path, title, credit)


def step_curves(
    metrics_path: str | Path,
    prefix: str,
    path: str | Path,
    held_out: Mapping[int, float] | None = None,
    chance: float | None = None,
    title: str = "",
    credit: str = "",
) -> None:
    """Draw the metrics "<prefix>_1", "<prefix>_2" ... of metrics.jsonl: over training, and at its end by their number.

    held_out: the same at the end on held-out recordings, {number: share}. Raises ValueError where there are none.
    """
    found: dict[int, dict[int, float]] = {}
    for line in Path(metrics_path).read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # a killed run leaves half a line
            continue
        for name, value in entry.items():
            head, _, tail = name.rpartition("_")
            if head == prefix and tail.isdigit() and value is not None:  # null: it was not finite
                found.setdefault(int(tail), {})[entry["step"]] = value
    if not found:
        raise ValueError(f'{Path(metrics_path).name}: no line holds "{prefix}_1"; train for one logged step first.')
    numbers = sorted(found)
    drawing = figure(9, 3.8)
    over, final = drawing.subplots(1, 2)
    shades = colormaps["viridis"](np.linspace(0, 0.9, len(numbers)))
    for shade, number in zip(shades, numbers, strict=True):
        at = sorted(found[number])
        label = f"{number}" if number in (numbers[0], numbers[-1]) else None
        over.plot(at, [found[number][step] * 100 for step in at], color=shade, linewidth=1, label=label)
    over.set(xlabel="training step", ylabel=f"{prefix}, %")
    over.legend(frameon=False, fontsize=8, title="frames ahead", title_fontsize=8)
    last = [float(np.mean([found[number][step] for step in sorted(found[number])[-10:]])) * 100 for number in numbers]
    final.plot(numbers, last, color=BLUE, marker="o", markersize=4, label="training, last logged steps")
    if held_out:
        at = sorted(held_out)
        final.plot(at, [held_out[n] * 100 for n in at], color=COLOURS[1], marker="o", markersize=4, label="held out")
    if chance is not None:
        final.axhline(chance * 100, color=INK, linestyle="--", linewidth=1, label="guessing")
    final.set(xlabel="frames ahead")
    final.set_ylim(bottom=0)
    final.legend(frameon=False, fontsize=8)
    for axes in (over, final):
        tidy(axes)
    finish(drawing, path, title, credit)


def use_chart(uses: Mapping[str, ArrayLike], path: str | Path, title: str = "", credit: str = "") -> None:
    """Draw how often each code or cluster is used, the most frequent first: {name: counts (c,)}, with the perplexity,
    the number of equally frequent codes that would be as uncertain.

    Raises ValueError for counts that are negative or all zero.
    """
    drawing = figure(4.4 * len(uses) + 0.4, 3.4)
    for place, (name, values) in enumerate(uses.items()):
        counts = np.asarray(values, dtype=np.float64)
        if counts.ndim != 1 or counts.sum() <= 0 or (counts < 0).any():
            raise ValueError(f"use_chart: counts of {name!r} must be one per code, not negative, and not all zero.")
        shares = np.sort(counts / counts.sum())[::-1]
        axes = drawing.add_subplot(1, len(uses), place + 1)
        axes.bar(range(len(shares)), shares * 100, width=1.0, color=BLUE)
        axes.axhline(100 / len(shares), color=INK, linestyle="--", linewidth=1, label="all alike")
        axes.set_title(f"{name}: perplexity {perplexity(counts):.1f} of {len(shares)}", fontsize=9, parse_math=False)
        axes.set(xlabel="code, most frequent first", ylabel="share of frames, %")
        tidy(axes)
        axes.legend(frameon=False, fontsize=8)
    finish(drawing, path, title, credit)


def perplexity(counts: ArrayLike) -> float:
    """exp of the entropy of the counts (c,)."""
    shares = np.asarray(counts, dtype=np.float64)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
