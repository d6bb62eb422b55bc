"""Weighted k-nearest-neighbour classification of frozen features. InstDisc, arXiv 1805.01978, section 3.4."""

import numpy as np
from numpy.typing import ArrayLike

from evaluation.accuracy import accuracies
from evaluation.arrays import Floats, column, matrix, row_chunks, same_width, unit_rows
from evaluation.ties import TIE, hits


def knn(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    k: int = 20,
    temperature: float = 0.07,
) -> dict[str, float]:
    """Return {"accuracy", "balanced_accuracy"}: the k nearest vote with exp(cosine / T).

    train (n, d), train_labels (n,), test (m, d), test_labels (m,). Neighbours tied for the last places
    share them equally, and classes with equal votes share the credit, so the order of the rows never
    matters; a constant embedding predicts the largest class. A test class that never occurs in train counts
    as wrong. k is cut to n.
    Raises ValueError for NaN or infinity, empty sets, lengths or widths that disagree, k < 1 or temperature
    <= 0.
    """
    train, test = matrix(train, "train"), matrix(test, "test")
    same_width(train, test, "train and test")
    if k < 1:
        raise ValueError(f"knn: k = {k} asks for no neighbours; k must be 1 or more.")
    if not temperature > 0:
        raise ValueError(f"knn: temperature = {temperature} must be above 0 (InstDisc uses 0.07).")
    classes, codes = np.unique(column(train_labels, len(train), "train_labels"), return_inverse=True)
    wanted = column(test_labels, len(test), "test_labels")

    one_hot = np.eye(len(classes))[codes]  # (n, c)
    train = unit_rows(train)
    correct = np.zeros(len(test))
    for rows in row_chunks(len(test), len(train)):
        cosine = unit_rows(test[rows]) @ train.T  # (chunk, n)
        votes = _neighbour_weights(cosine, min(k, len(train)), temperature) @ one_hot  # (chunk, c)
        votes /= votes.sum(axis=1, keepdims=True)
        right = wanted[rows, None] == classes  # (chunk, c)
        known = right.any(axis=1)
        correct[rows][known] = hits(votes[known], right[known], (1,))[:, 0]
    return accuracies(correct, wanted)


def _neighbour_weights(cosine: Floats, k: int, temperature: float) -> Floats:
    """Weight of every train row for every test row, (m, n): zero outside the k nearest."""
    last = np.partition(cosine, -k, axis=1)[:, -k, None]  # (m, 1), the k-th largest
    nearer = cosine > last + TIE
    tied = np.abs(cosine - last) <= TIE
    share = (k - nearer.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    # Relative to the nearest, so that a small temperature underflows for the far ones and never overflows.
    weight = np.exp((cosine - cosine.max(axis=1, keepdims=True)) / temperature)
    kept: Floats = weight * (nearer + share * tied)
    return kept
