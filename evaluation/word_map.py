"""A map of words: vectors brought down to the plane, each word at its place."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from evaluation.arrays import Floats, matrix, unit_rows
from evaluation.figures import COLOURS, FAINT, INK, figure, finish, plain

_MARGIN = 1.5  # pixels around a word
_ACROSS = (("left", 2), ("right", -2))  # sides of a dot, and points from it
_ALONG = (("bottom", 1), ("top", -1))


def word_map(
    vectors: ArrayLike,
    words: Sequence[str],
    path: str | Path,
    groups: Sequence[str] | None = None,
    method: Literal["tsne", "pca"] = "tsne",
    title: str = "",
    credit: str = "",
    seed: int = 0,
) -> int:
    """Draw words (n) at the places of their vectors (n, d), colours by `groups` (n) where there are some. Returns how
    many words are shown: where there is no room the word is left out and its dot stays, so give the important first.

    t-SNE keeps neighbours together and distances not, PCA the other way around. Raises ValueError for lengths that
    differ and fewer than three words.
    """
    array = unit_rows(matrix(vectors, "word vectors"))
    if not len(array) == len(words) == len(groups if groups is not None else words):
        raise ValueError(f"word_map: {len(array)} vectors, {len(words)} words and their groups must be equally many.")
    if len(array) < 3:
        raise ValueError(f"word_map: {len(array)} words make no map; give three or more.")
    places = plane(array, method, seed)
    names = list(dict.fromkeys(groups)) if groups is not None else [""]
    colour = (
        [COLOURS[names.index(name) % len(COLOURS)] for name in groups] if groups is not None else [INK] * len(words)
    )

    drawing = figure(9, 7)
    drawing.set_layout_engine("none")  # words are placed by pixels, so the frame must not move any more
    axes = drawing.add_axes((0.02, 0.1, 0.96, 0.82))
    axes.scatter(places[:, 0], places[:, 1], s=6, c=colour, alpha=0.6, linewidths=0)
    axes.set(xticks=[], yticks=[])
    axes.margins(0.06)
    for spine in axes.spines.values():
        spine.set_color("#dddddd")
    way = {"tsne": "t-SNE", "pca": "PCA"}[method]
    axes.text(1, 1.005, way, color=FAINT, fontsize=8, ha="right", transform=axes.transAxes)
    if groups is not None:
        _legend(axes, names)
    drawing.canvas.draw()  # settles the limits of the axes
    shown = _label(axes, places, words, colour)
    finish(drawing, path, title, credit)
    return shown


def _legend(axes: Axes, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        axes.scatter([], [], s=20, color=COLOURS[number % len(COLOURS)], label=name)
    plain(axes.legend(frameon=False, fontsize=8, ncols=6, loc="upper left", bbox_to_anchor=(0, 0)).get_texts())


def plane(array: Floats, method: str, seed: int) -> Floats:
    """Vectors (n, d) brought down to (n, 2) by "tsne" or "pca"; few of them always by the latter."""
    if method == "pca" or len(array) < 5:
        places: Floats = PCA(2, random_state=seed).fit_transform(array)
        return places
    perplexity = min(30.0, (len(array) - 1) / 3)
    return np.asarray(
        TSNE(2, perplexity=perplexity, init="pca", metric="cosine", random_state=seed).fit_transform(array),
        dtype=np.float64,
    )


def _label(axes: Axes, places: Floats, words: Sequence[str], colour: Sequence[str]) -> int:
    """Put each word beside its dot, on the first side where nothing stands yet: no dot, or at least no word."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = axes.get_window_extent(renderer)
    dots = axes.transData.transform(places)  # pixels
    taken = np.empty((0, 4))
    shown = 0
    for i, word in enumerate(words):
        others = np.delete(dots, i, axis=0)
        for with_dots, (across, x), (along, y) in product((True, False), _ACROSS, _ALONG):
            text = axes.annotate(
                word, places[i], (x, y), textcoords="offset points", ha=across, va=along, fontsize=8, color=colour[i],
                parse_math=False,
            )  # fmt: skip
            left, low, right, high = text.get_window_extent(renderer).padded(_MARGIN).extents
            inside = frame.x0 < left and right < frame.x1 and frame.y0 < low and high < frame.y1
            apart = (taken[:, 0] > right) | (taken[:, 2] < left) | (taken[:, 1] > high) | (taken[:, 3] < low)
            covered = (others > (left, low)).all(axis=1) & (others < (right, high)).all(axis=1)
            if inside and apart.all() and not (with_dots and covered.any()):
                taken = np.vstack([taken, (left, low, right, high)])
                shown += 1
                break
            text.remove()
    return shown
