"""Accuracy and balanced accuracy as an `evaluate` module, counted by `evaluation.accuracy`."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from evaluation.accuracy import accuracies

DESCRIPTION = """\
Accuracy, and balanced accuracy: the mean of the recalls of the classes that occur in the references.
Always guessing one of c classes gives a balanced accuracy of 1/c, however common that class is.
"""
INPUTS = """\
Args:
    predictions: the predicted class of each row, an integer.
    references: the true class of each row, an integer.
Returns:
    {"accuracy": ..., "balanced_accuracy": ...}, each in [0, 1].
Example:
    >>> metric = evaluate.load("evaluation/metrics/accuracies")
    >>> metric.compute(predictions=[0, 0, 0, 0], references=[0, 0, 0, 1])
    {'accuracy': 0.75, 'balanced_accuracy': 0.5}
"""
CITATION = """\
@inproceedings{brodersen2010balanced,
  title = {The Balanced Accuracy and Its Posterior Distribution},
  author = {Brodersen, Kay H. and Ong, Cheng Soon and Stephan, Klaas E. and Buhmann, Joachim M.},
  booktitle = {International Conference on Pattern Recognition},
  year = {2010}
}
"""


class Accuracies(evaluate.Metric):  # type: ignore[misc]
    """Accuracy and balanced accuracy of hard predictions."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return accuracies(np.asarray(predictions) == np.asarray(references), references)
