"""How much a language model gains from what it has read: its loss by the number of tokens before the one foreseen."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.figures import COLOURS, INK, figure, finish, tidy

_POINTS = 24


def loss_by_context(nats: ArrayLike, before: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean loss in nats at about 24 lengths of context, evenly spaced on a logarithmic scale.

    nats (k,): loss of each token; before (k,): how many tokens the model saw before it, at least 1.

    Returns:
        Mean length of context and mean loss of each group of tokens, (g,) each.
    """
    losses, lengths = np.asarray(nats, dtype=np.float64), np.asarray(before, dtype=np.int64)
    edges = np.unique(np.geomspace(1, lengths.max() + 1, _POINTS + 1).round().astype(np.int64))
    group = np.searchsorted(edges, lengths, side="right") - 1
    count = np.bincount(group)
    some = count > 0
    return (
        np.bincount(group, weights=lengths)[some] / count[some],
        np.bincount(group, weights=losses)[some] / count[some],
    )


def context_curve(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], flat: Mapping[str, float], path: str | Path, title: str = ""
) -> None:
    """Draw what `loss_by_context` found for each model, in bits per token, and models that are known by one number as
    dashed lines. Losses are in nats."""
    drawing = figure(7, 4)
    axes = drawing.subplots()
    for colour, (name, (lengths, losses)) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(lengths, np.asarray(losses) / math.log(2), color=colour, marker=".", label=name)
    for style, (name, loss) in zip(("--", ":", "-."), flat.items(), strict=False):
        axes.axhline(loss / math.log(2), color=INK, linestyle=style, linewidth=1, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens before it")
    axes.set_ylabel("bits per held-out token")
    tidy(axes)
    axes.legend(frameon=False, fontsize=9)
    finish(drawing, path, title, "")
