"""The chance that a right answer is among the first k, when ties are broken at random.

Sorting breaks ties by position, and data sets come in order: with `argmax`, an encoder that maps everything
to one point can score 1.0. The expectation over random tie-breaking gives it exactly the level of guessing
instead.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.arrays import Bools, Floats

TIE = 1e-7  # what single precision cannot tell apart near a cosine of one


def hits(scores: Floats, right: Bools, ks: Sequence[int]) -> Floats:
    """Probability that the k best scores of a row include a right one, (n, len(ks)).

    scores (n, m), higher is better; right (n, m) with at least one True per row. Scores within TIE of the
    best right one are tied with it. With t tied entries, p of them right, and r places left for them, the
    chance is 1 - C(t - p, r) / C(t, r).
    """
    assert scores.shape == right.shape and right.any(axis=1).all()
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)  # (n, 1)
    above = (scores > best + TIE).sum(axis=1)  # (n,)
    level = np.abs(scores - best) <= TIE  # (n, m)
    tied = level.sum(axis=1)  # (n,)
    tied_right = (level & right).sum(axis=1)  # (n,)
    tied_wrong = tied - tied_right

    answer = np.empty((len(scores), len(ks)))
    for position, k in enumerate(ks):
        places = np.clip(k - above, 0, tied)  # (n,)
        miss = np.ones(len(scores))
        for drawn in range(int(places.max(initial=0))):
            still = drawn < places
            share = np.maximum(tied_wrong - drawn, 0) / np.maximum(tied - drawn, 1)
            miss = np.where(still, miss * share, miss)
        answer[:, position] = 1.0 - miss
    return answer
