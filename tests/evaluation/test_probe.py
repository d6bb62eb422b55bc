"""The linear probe never sees the test rows, and copes with what labelled sets look like."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evaluation.accuracy import accuracies
from evaluation.probe import STRENGTHS, linear_probe, validation_rows


def rows(n, d, seed, classes=3, gap=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size=n)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    return rng.normal(size=(n, d)) + gap * centres[labels], labels


def test_learns_what_is_linear_and_nothing_from_shuffled_labels():
    train, test = rows(300, 10, 0), rows(200, 10, 1)
    found = linear_probe(*train, *test)
    assert found["accuracy"] > 0.85
    assert found["c"] in STRENGTHS
    shuffled = np.random.default_rng(5).permutation(train[1])
    assert linear_probe(train[0], shuffled, *test)["accuracy"] < 0.5


def test_the_scale_and_offset_of_a_feature_do_not_matter():
    (x, y), (test_x, test_y) = rows(200, 6, 0, gap=0.6), rows(400, 6, 1, gap=0.6)
    scale, offset = np.array([1e-3, 1, 1e4, 1, 1, 10]), np.array([0, 5, 1e5, -3, 0, 0])
    moved = linear_probe(x * scale + offset, y, test_x * scale + offset, test_y)
    assert moved == linear_probe(x, y, test_x, test_y)


def test_never_sees_the_test_rows():
    """A test row scores as it does among any others. Not so when the test set takes part in standardising."""
    (x, y), (test_x, test_y) = rows(120, 5, 0, gap=0.5), rows(60, 5, 1, gap=0.5)
    test_x[30:] = test_x[30:] * 40 + 200
    half = linear_probe(x, y, test_x[:30], test_y[:30])
    both = linear_probe(x, y, test_x, test_y)
    far = linear_probe(x, y, test_x[30:], test_y[30:])
    assert both["c"] == half["c"] == far["c"]
    assert both["accuracy"] == pytest.approx((half["accuracy"] + far["accuracy"]) / 2, abs=1e-12)

    def leaky(others):  # the broken twin
        every = np.concatenate([x, others])
        mean, deviation = every.mean(axis=0), every.std(axis=0)
        model = LogisticRegression(C=half["c"]).fit((x - mean) / deviation, y)
        return model.score((test_x[:30] - mean) / deviation, test_y[:30])

    assert leaky(test_x[:30]) != leaky(test_x)


def test_test_labels_do_not_choose_the_penalty():
    (x, y), (test_x, test_y) = rows(90, 40, 4, gap=0.3), rows(90, 40, 5, gap=0.3)
    chosen = {linear_probe(x, y, test_x, labels)["c"] for labels in (test_y, (test_y + 1) % 3, test_y * 0)}
    assert len(chosen) == 1
    best = max(STRENGTHS, key=lambda c: linear_probe(x, y, test_x, test_y, strengths=[c])["accuracy"])
    assert chosen != {best}  # choosing on the test set would have taken another


def test_the_split_takes_from_each_class_and_empties_none():
    codes = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    chosen = validation_rows(codes, seed=0)
    assert [int(chosen[codes == code].sum()) for code in range(4)] == [10, 2, 1, 0]
    assert not np.array_equal(chosen, validation_rows(codes, seed=1))
    np.testing.assert_array_equal(chosen, validation_rows(codes, seed=0))


def test_rare_unknown_and_named_classes():
    x, y = rows(60, 4, 0)
    names = np.array(["ant", "bee", "cat"])[y]
    names[0] = "dodo"  # one row only
    test_names = np.array(["ant", "bee", "emu"])
    found = linear_probe(x, names, x[1:4], test_names)
    assert 0 <= found["balanced_accuracy"] <= 2 / 3
    one_each = linear_probe(np.eye(3), [0, 1, 2], np.eye(3), [0, 1, 2])
    assert one_each["accuracy"] == 1.0


def test_a_collapsed_encoder_earns_the_largest_class():
    y = np.array([0] * 70 + [1] * 30)
    found = linear_probe(np.ones((100, 3)), y, np.ones((100, 3)), y)
    assert found["accuracy"] == 0.7
    assert found["balanced_accuracy"] == 0.5


def test_errors_are_sentences():
    with pytest.raises(ValueError, match="only class 4"):
        linear_probe(np.eye(3), [4, 4, 4], np.eye(3), [4, 4, 4])
    with pytest.raises(ValueError, match="train_y: expected 3"):
        linear_probe(np.eye(3), [0, 1], np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="holds no rows"):
        accuracies([], [])
