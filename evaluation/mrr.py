"""Mean reciprocal rank, the measure of CodeSearchNet (arXiv 1909.09436)."""

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import matrix, row_chunks, same_width, unit_rows
from evaluation.ties import TIE


def reciprocal_ranks(queries: ArrayLike, keys: ArrayLike) -> np.ndarray:
    """1 / rank of each query's own key among all keys by cosine, (n,): key i belongs to query i.

    queries, keys (n, d), of any length. Where t keys are as similar as the right one, the result is the mean over the
    orders in which they could stand: a constant embedding scores that of guessing. Raises ValueError for NaN or
    infinity, and for sizes that disagree.
    """
    queries, keys = matrix(queries, "queries"), matrix(keys, "keys")
    same_width(queries, keys, "queries and keys")
    if len(queries) != len(keys):
        raise ValueError(f"reciprocal_ranks: {len(queries)} queries and {len(keys)} keys; pass one key for each query.")
    keys = unit_rows(keys)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(keys) + 1))])  # 1 + 1/2 + ... + 1/r
    found = np.empty(len(queries))
    for rows in row_chunks(len(queries), len(keys)):
        scores = unit_rows(queries[rows]) @ keys.T  # (chunk, n)
        own = np.take_along_axis(scores, np.arange(len(queries))[rows, None], axis=1)  # (chunk, 1)
        above = (scores > own + TIE).sum(axis=1)
        level = (np.abs(scores - own) <= TIE).sum(axis=1)  # the right one is among them
        found[rows] = (harmonic[above + level] - harmonic[above]) / level
    return found
