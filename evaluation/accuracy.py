"""Accuracy and balanced accuracy from one correctness per row."""

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import column


def accuracies(correct: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return {"accuracy", "balanced_accuracy"}: the mean over rows, and the mean of the class means.

    correct (n,): bool, or the probability of being right in [0, 1] where ties were broken at random. labels
    (n,). Balanced accuracy is over the classes that occur in `labels`, so that predicting the largest class
    earns 1/c.
    Raises ValueError when there are no rows or the lengths differ.
    """
    right = np.asarray(correct, dtype=np.float64)
    if right.ndim != 1 or len(right) == 0:
        raise ValueError(f"accuracy: shape {right.shape} holds no rows to score; pass one value per row.")
    _, codes = np.unique(column(labels, len(right), "labels"), return_inverse=True)
    per_class = np.bincount(codes, weights=right) / np.bincount(codes)  # (c,)
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(per_class.mean())}
