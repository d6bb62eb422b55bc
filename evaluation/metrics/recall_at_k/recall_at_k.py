"""Recall at k as an `evaluate` module, counted by `evaluation.ties`."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from evaluation.arrays import matrix
from evaluation.ties import hits

DESCRIPTION = """\
Share of queries with a right key among the k that score highest. Equal scores count with the probability
that a random order would place a right key among the first k, so that constant scores give chance, not 1.0.
"""
INPUTS = """\
Args:
    predictions: for each query, its score against each of the m keys (higher is better).
    references: for each query, the position of its right key in [0, m), or a list of them.
    ks: the cut-offs, (1, 5, 10) unless given.
Returns:
    {"recall_at_1": ..., "recall_at_5": ..., "recall_at_10": ...}, each in [0, 1].
Example:
    >>> metric = evaluate.load("evaluation/metrics/recall_at_k")
    >>> metric.compute(predictions=[[0.9, 0.1, 0.3], [0.8, 0.2, 0.5]], references=[0, 2], ks=[1, 2])
    {'recall_at_1': 0.5, 'recall_at_2': 1.0}
"""
CITATION = """\
@inproceedings{radford2021learning,
  title = {Learning Transferable Visual Models From Natural Language Supervision},
  author = {Radford, Alec and others},
  booktitle = {International Conference on Machine Learning},
  year = {2021},
  note = {arXiv:2103.00020}
}
"""


class RecallAtK(evaluate.Metric):  # type: ignore[misc]
    """Recall at k from scores; embeddings go through `evaluation.retrieval.recall`."""

    def _info(self) -> evaluate.MetricInfo:
        scores = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=[
                datasets.Features({"predictions": scores, "references": datasets.Value("int64")}),
                datasets.Features({"predictions": scores, "references": datasets.Sequence(datasets.Value("int64"))}),
            ],
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[int] | Sequence[Sequence[int]],
        ks: Sequence[int] = (1, 5, 10),
    ) -> dict[str, float]:
        scores = matrix(predictions, "predictions")  # (n, m)
        right = np.zeros(scores.shape, dtype=np.bool_)
        for query, reference in enumerate(references):
            positions = np.asarray(reference, dtype=np.int64).reshape(-1)
            if len(positions) == 0 or positions.min() < 0 or positions.max() >= scores.shape[1]:
                raise ValueError(
                    f"recall_at_k: reference {reference} of query {query} names no key; "
                    f"use positions from 0 to {scores.shape[1] - 1}."
                )
            right[query, positions] = True
        shares = hits(scores, right, ks).mean(axis=0)
        return {f"recall_at_{k}": float(share) for k, share in zip(ks, shares, strict=True)}
