"""Weighted kNN against loops; the order of the rows must not matter."""

import numpy as np
import pytest

from evaluation import arrays
from evaluation.knn import knn


def looped_knn(train, train_labels, test, test_labels, k, temperature, weighted=True):
    correct = []
    for row, wanted in zip(test, test_labels, strict=True):
        cosine = [float(row @ key / np.linalg.norm(row) / np.linalg.norm(key)) for key in train]
        votes = {}
        for i in sorted(range(len(train)), key=lambda i: -cosine[i])[:k]:
            weight = np.exp(cosine[i] / temperature) if weighted else 1
            votes[train_labels[i]] = votes.get(train_labels[i], 0) + weight
        correct.append(max(votes, key=votes.get) == wanted)
    return np.mean(correct)


@pytest.fixture
def clouds():
    rng = np.random.default_rng(3)
    labels = rng.choice(["ant", "bee", "cat"], size=160, p=[0.6, 0.3, 0.1])
    centres = {"ant": [1, 0, 0, 0], "bee": [0, 1, 0, 0], "cat": [0, 0, 1, 0]}
    rows = rng.normal(size=(160, 4)) + 1.5 * np.array([centres[label] for label in labels])
    return rows[:100], labels[:100], rows[100:], labels[100:]


@pytest.mark.parametrize("k", [1, 7, 20])
def test_equals_the_loop(clouds, k):
    assert knn(*clouds, k=k)["accuracy"] == pytest.approx(looped_knn(*clouds, k, 0.07), abs=1e-12)


def test_the_weights_matter(clouds):
    unweighted = looped_knn(*clouds, 60, 0.07, weighted=False)  # the broken twin
    assert knn(*clouds, k=60)["accuracy"] != pytest.approx(unweighted, abs=1e-3)


def test_order_and_chunks_change_nothing_even_with_ties(clouds, monkeypatch):
    train, train_labels, test, test_labels = clouds
    train, test = np.round(train), np.round(test) + 0.1  # many equal rows
    order = np.random.default_rng(0).permutation(len(train))
    before = knn(train, train_labels, test, test_labels, k=5)
    assert knn(train[order], train_labels[order], test, test_labels, k=5) == pytest.approx(before, abs=1e-12)
    monkeypatch.setattr(arrays, "CHUNK_VALUES", 700)
    assert knn(train, train_labels, test, test_labels, k=5) == pytest.approx(before, abs=1e-12)


def test_a_collapsed_encoder_predicts_the_largest_class():
    train_labels = np.array([0] * 30 + [1] * 70)
    test_labels = np.array([0] * 50 + [1] * 10)
    found = knn(np.ones((100, 3)), train_labels, np.ones((60, 3)), test_labels)
    assert found == {"accuracy": pytest.approx(10 / 60, abs=1e-12), "balanced_accuracy": 0.5}
    twin = looped_knn(np.ones((100, 3)), train_labels, np.ones((60, 3)), test_labels, 20, 0.07)
    assert twin == pytest.approx(50 / 60)  # the broken twin takes the first 20 rows


def test_neighbours_tied_for_the_last_place_share_it():
    """One neighbour of class 0, then three of class 1 for a single place: voting with all three would win."""
    train, labels = np.array([[1.0, 0.0]] + [[0.0, 1.0]] * 3), [0, 1, 1, 1]
    assert knn(train, labels, train[:1], [0], k=2, temperature=10.0)["accuracy"] == 1.0
    assert knn(train, labels, train[:1], [0], k=4, temperature=10.0)["accuracy"] == 0.0


def test_small_temperatures_do_not_overflow(clouds):
    assert knn(*clouds, k=20, temperature=1e-4) == knn(*clouds, k=1)


def test_a_class_unknown_to_train_is_wrong():
    found = knn(np.eye(2), [0, 1], np.eye(2), [0, 9], k=1)
    assert found == {"accuracy": 0.5, "balanced_accuracy": 0.5}


def test_errors_are_sentences(clouds):
    with pytest.raises(ValueError, match="k = 0"):
        knn(*clouds, k=0)
    with pytest.raises(ValueError, match="temperature = 0"):
        knn(*clouds, temperature=0)
    with pytest.raises(ValueError, match="4 against 3 dimensions"):
        knn(clouds[0], clouds[1], clouds[2][:, :3], clouds[3])
