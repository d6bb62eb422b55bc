"""What representations save: how good a classifier is that sees the labels of a small share of the training rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def draw_per_class(labels: ArrayLike, fraction: float, seed: int = 0) -> NDArray[np.int64]:
    """Places of a share of the rows, the same share of every class and at least one row of each, in order.

    A smaller share drawn with the same seed is part of a larger one, so that curves over shares compare. labels (n,).
    Raises ValueError for a share outside (0, 1] or no labels.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"draw_per_class: fraction = {fraction} must be above 0 and at most 1.")
    wanted = np.asarray(labels)
    if wanted.ndim != 1 or len(wanted) == 0:
        raise ValueError(f"draw_per_class: labels of shape {wanted.shape}; pass one per row, and at least one.")
    rng = np.random.default_rng(seed)
    chosen = []
    for value in np.unique(wanted):
        rows = rng.permutation(np.flatnonzero(wanted == value))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)
