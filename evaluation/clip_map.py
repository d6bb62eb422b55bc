"""A map of recordings: their features brought down to the plane, coloured by what they are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import matrix, unit_rows
from evaluation.figures import FAINT, figure, finish, plain
from evaluation.word_map import plane

_MARKERS = "os^DvPX"  # beside ten colours, for more groups than colours


def clip_map(
    maps: Mapping[str, ArrayLike],
    groups: Sequence[str],
    path: str | Path,
    most: int = 20,
    title: str = "",
    credit: str = "",
    seed: int = 0,
) -> int:
    """Draw a t-SNE for each of `maps`, {features: (n, d)} of the same recordings, side by side, coloured by `groups`
    (n). Only the `most` largest groups are drawn; returns how many recordings those have.

    t-SNE keeps neighbours together; distances between clusters, and the axes, mean nothing. Raises ValueError for
    lengths that differ and fewer than three recordings.
    """
    arrays = {name: unit_rows(matrix(values, name)) for name, values in maps.items()}
    for name, array in arrays.items():
        if len(array) != len(groups):
            raise ValueError(f"clip_map: {len(array)} features ({name}) for {len(groups)} groups; pass one each.")
    names = [name for name, _ in Counter(groups).most_common(most)]  # of equals the first that comes
    drawn = np.array([group in names for group in groups])
    if not arrays or drawn.sum() < 3:
        raise ValueError(f"clip_map: {int(drawn.sum())} recordings make no map; give three or more.")
    drawing = figure(0.6 + 4.2 * len(arrays) + 1.6, 4.6)
    panels = drawing.subplots(1, len(arrays), squeeze=False)[0]
    colours = matplotlib.colormaps["tab10"].colors
    kept = [group for group, shown in zip(groups, drawn, strict=True) if shown]
    for axes, (name, array) in zip(panels, arrays.items(), strict=True):
        places = plane(array[drawn], "tsne", seed)
        for number, group in enumerate(sorted(names)):
            mine = np.array([each == group for each in kept])
            axes.scatter(
                places[mine, 0], places[mine, 1], s=16, color=colours[number % 10], alpha=0.8, linewidths=0,
                marker=_MARKERS[number // 10 % len(_MARKERS)], label=group,
            )  # fmt: skip
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=10, parse_math=False)
        axes.set_xlabel("t-SNE", fontsize=8, color=FAINT)
        for spine in axes.spines.values():
            spine.set_color("#dddddd")
    legend = panels[-1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    plain(legend.get_texts())
    finish(drawing, path, title, credit)
    return int(drawn.sum())
