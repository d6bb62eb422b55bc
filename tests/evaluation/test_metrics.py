"""The `evaluate` modules, loaded from their folders without a network and used as classes."""

from pathlib import Path

import evaluate
import numpy as np
import pytest

import evaluation
from evaluation.metrics.accuracies.accuracies import Accuracies
from evaluation.metrics.recall_at_k.recall_at_k import RecallAtK
from evaluation.retrieval import recall

FOLDER = Path(evaluation.__file__).parent / "metrics"


@pytest.fixture(params=["class", "folder"])
def load(request, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)

    def make(cls, name):
        if request.param == "class":
            return cls(cache_dir=str(tmp_path))
        return evaluate.load(str(FOLDER / name), cache_dir=str(tmp_path))

    return make


def test_recall_at_k_is_the_recall_of_retrieval(load):
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(20, 4))
    queries = keys + rng.normal(size=(20, 4))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    scores = queries / np.linalg.norm(queries, axis=1, keepdims=True) @ keys.T
    metric = load(RecallAtK, "recall_at_k")
    ids = np.arange(20)
    found = metric.compute(predictions=scores, references=ids)
    expected = recall(queries, keys, ids, ids)
    assert found == pytest.approx({f"recall_at_{k}": value for k, value in expected.items()}, abs=1e-12)
    wrong = metric.compute(predictions=scores, references=(ids + 1) % 20)
    assert wrong["recall_at_1"] < found["recall_at_1"]


def test_recall_at_k_takes_several_right_keys_and_shares_ties(load):
    metric = load(RecallAtK, "recall_at_k")
    scores = [[0.9, 0.1, 0.3, 0.2], [0.5, 0.5, 0.5, 0.5]]
    found = metric.compute(predictions=scores, references=[[1, 2], [0, 3]], ks=[1, 2])
    assert found == pytest.approx({"recall_at_1": (0 + 1 / 2) / 2, "recall_at_2": (1 + 5 / 6) / 2}, abs=1e-12)
    with pytest.raises(ValueError, match="reference 4 of query 0 names no key"):
        metric.compute(predictions=scores, references=[4, 0])


def test_accuracies(load):
    metric = load(Accuracies, "accuracies")
    found = metric.compute(predictions=[0, 0, 0, 0], references=[0, 0, 0, 1])
    assert found == {"accuracy": 0.75, "balanced_accuracy": 0.5}
    metric.add_batch(predictions=[1, 2], references=[1, 2])
    metric.add(prediction=0, reference=1)
    assert metric.compute() == pytest.approx({"accuracy": 2 / 3, "balanced_accuracy": 3 / 4}, abs=1e-12)


def test_modules_describe_themselves(load):
    for metric in (load(RecallAtK, "recall_at_k"), load(Accuracies, "accuracies")):
        assert metric.description and metric.citation and "predictions" in metric.inputs_description
