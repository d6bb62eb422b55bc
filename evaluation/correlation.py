"""Correlation of two lists of numbers."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from evaluation.arrays import Floats


def pearson(first: ArrayLike, second: ArrayLike) -> float:
    """Of two (n,). 0 where one of them is constant, for it tells nothing; nan for fewer than two."""
    x, y = _pair(first, second)
    if len(x) < 2:
        return float("nan")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson's of their ranks; ties share the mean of theirs."""
    x, y = _pair(first, second)
    return pearson(rankdata(x), rankdata(y)) if len(x) else float("nan")


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"correlation: shapes {x.shape} and {y.shape} are not two lists of equal length.")
    for name, values in (("first", x), ("second", y)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"correlation: the {name} list holds NaN or infinity at {int(np.argmin(np.isfinite(values)))}."
            )
    return x, y
