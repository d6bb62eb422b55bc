"""Semantic textual similarity: do cosines of sentences order pairs as people do?

Papers differ in how they join the subsets of a year. In the "all" setting of Gao et al. 2021 (SimCSE, arXiv 2104.08821)
the pairs of all subsets are ranked together; the mean over subsets is higher or lower by several points.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import Floats, matrix, same_width, unit_rows
from evaluation.correlation import pearson, spearman


def cosines(first: ArrayLike, second: ArrayLike) -> Floats:
    """Of row i of one with row i of the other: (n, d) and (n, d) to (n,). Vectors may have any length."""
    first, second = matrix(first, "first sentences"), matrix(second, "second sentences")
    same_width(first, second, "first and second sentences")
    if len(first) != len(second):
        raise ValueError(f"cosines: {len(first)} first but {len(second)} second sentences; give pairs.")
    found: Floats = np.einsum("nd,nd->n", unit_rows(first), unit_rows(second))
    return found


def sts(subsets: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> dict[str, float]:
    """Correlation of predicted with judged similarity, by subset (predicted (n,), judged (n,)).

    "spearman" and "pearson" rank all pairs together; "mean_spearman" and "mean_pearson" average over the subsets;
    "pairs" is their number; "spearman_NAME" that of each subset, where there are several.
    """
    if not subsets:
        raise ValueError("sts: there are no subsets to judge; pass at least one.")
    pairs = {
        name: (np.asarray(predicted, dtype=np.float64), np.asarray(judged, dtype=np.float64))
        for name, (predicted, judged) in subsets.items()
    }
    predicted = np.concatenate([one for one, _ in pairs.values()])
    judged = np.concatenate([two for _, two in pairs.values()])
    by_subset = {name: spearman(*pair) for name, pair in pairs.items()}
    found = {
        "spearman": spearman(predicted, judged),
        "pearson": pearson(predicted, judged),
        "mean_spearman": float(np.mean(list(by_subset.values()))),
        "mean_pearson": float(np.mean([pearson(*pair) for pair in pairs.values()])),
        "pairs": len(judged),
    }
    return found | ({f"spearman_{name}": score for name, score in by_subset.items()} if len(pairs) > 1 else {})
