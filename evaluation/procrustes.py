"""Vectors of one language mapped onto those of another, and translation by the nearest.

The orthogonal map that is best on a dictionary comes from one singular value decomposition (Schönemann 1966; for words
Xing et al., NAACL 2015). CSLS (Conneau et al. 2018, arXiv 1710.04087) lowers keys that are near to all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import Floats, matrix, row_chunks, same_width, unit_rows
from evaluation.ties import hits

_NEIGHBOURS = 10  # of CSLS


def orthogonal_map(source: ArrayLike, target: ArrayLike) -> Floats:
    """The orthogonal w (d, d) that brings source @ w closest to target; rows (n, d) are pairs of the dictionary.

    Vectors count by their directions. Raises ValueError for NaN and shapes that differ.
    """
    source, target = unit_rows(matrix(source, "source")), unit_rows(matrix(target, "target"))
    if source.shape != target.shape:
        raise ValueError(f"orthogonal_map: shapes {source.shape} and {target.shape} are not pairs of one width.")
    left, _, right = np.linalg.svd(source.T @ target)
    w: Floats = left @ right
    return w


def translation_precision(
    queries: ArrayLike,
    keys: ArrayLike,
    translations: Sequence[Sequence[int]],
    ks: Sequence[int] = (1, 5),
    csls: bool = True,
) -> dict[int, float]:
    """Share of queries with a right translation among the k best, per k.

    queries (n, d), already mapped, and keys (m, d), of any length; translations: for each query the places of its
    translations among the keys. By CSLS, 2 cos(x, y) - r(x) - r(y) with r the mean cosine of the 10 nearest on the
    other side (all, where there are fewer), or by cosine. Equal scores count by chance.
    """
    queries, keys = unit_rows(matrix(queries, "queries")), unit_rows(matrix(keys, "keys"))
    same_width(queries, keys, "queries and keys")
    if len(translations) != len(queries) or not all(len(places) for places in translations):
        raise ValueError("translation_precision: every query needs at least one translation among the keys.")
    around = _mean_of_nearest(keys, queries) if csls else np.zeros(len(keys))  # (m,)
    total = np.zeros(len(ks))
    for rows in row_chunks(len(queries), len(keys)):
        cosines = queries[rows] @ keys.T  # (chunk, m)
        right = np.zeros(cosines.shape, dtype=np.bool_)
        for row, places in enumerate(translations[rows]):
            right[row, list(places)] = True
        # r(x) is the same for all keys of a query, so that it does not change their order.
        total += hits(2 * cosines - around if csls else cosines, right, ks).sum(axis=0)
    return {k: float(share) for k, share in zip(ks, total / len(queries), strict=True)}


def _mean_of_nearest(points: Floats, others: Floats) -> Floats:
    """Mean cosine of each point (m, d) with the nearest of the others, (m,)."""
    k = min(_NEIGHBOURS, len(others))
    means = np.empty(len(points))
    for rows in row_chunks(len(points), len(others)):
        cosines = points[rows] @ others.T
        means[rows] = np.partition(cosines, len(others) - k, axis=1)[:, len(others) - k :].mean(axis=1)
    return means
