"""Correlations, sentence pairs and mapped languages, against scipy, slow loops and what is known exactly."""

import numpy as np
import pytest
import scipy.stats

from evaluation.correlation import pearson, spearman
from evaluation.procrustes import orthogonal_map, translation_precision
from evaluation.sts import cosines, sts


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_correlations_as_scipy_has_them(draw):
    for _ in range(5):
        x = draw.normal(size=40)
        y = np.round(x + draw.normal(size=40))  # with ties
        assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-12)
        assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
    assert spearman([1, 2, 3, 10], [0, 1, 5, 6]) == pytest.approx(1) and pearson([1, 2, 3, 10], [0, 1, 5, 6]) < 0.9
    assert spearman([1, 1, 1], [1, 2, 3]) == 0 and np.isnan(spearman([1], [2])) and np.isnan(spearman([], []))
    with pytest.raises(ValueError, match="not two lists of equal length"):
        spearman([1, 2], [1])
    with pytest.raises(ValueError, match="first list holds NaN or infinity at 1"):
        spearman([1, np.nan], [1, 2])


def test_all_pairs_together_and_their_mean(draw):
    subsets = {
        "a": (np.array([0.1, 0.2, 0.3]), np.array([1, 2, 3])),
        "b": (np.array([0.9, 0.8, 0.7]), np.array([1, 2, 3])),
    }
    found = sts(subsets)
    assert found["spearman_a"] == pytest.approx(1) and found["spearman_b"] == pytest.approx(-1)
    assert found["mean_spearman"] == pytest.approx(0) and found["pairs"] == 6
    together = np.concatenate([subsets["a"][0], subsets["b"][0]]), np.array([1, 2, 3, 1, 2, 3])
    assert found["spearman"] == pytest.approx(scipy.stats.spearmanr(*together).statistic)
    assert found["pearson"] == pytest.approx(scipy.stats.pearsonr(*together).statistic)
    assert "spearman_a" not in sts({"a": subsets["a"]})
    with pytest.raises(ValueError, match="no subsets to judge"):
        sts({})


def test_cosines(draw):
    first, second = draw.normal(size=(2, 7, 5))
    wanted = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(first, second, strict=True)]
    assert cosines(first * 3, second) == pytest.approx(wanted, abs=1e-12)
    assert cosines([[0.0, 0]], [[1.0, 2]]) == 0
    with pytest.raises(ValueError, match="7 first but 6 second"):
        cosines(first, second[1:])


def test_a_rotation_is_found(draw):
    rotation = np.linalg.qr(draw.normal(size=(6, 6)))[0]
    source = draw.normal(size=(9, 6))
    w = orthogonal_map(source, source @ rotation * 5)
    assert np.abs(w - rotation).max() < 1e-12 and np.abs(w.T @ w - np.eye(6)).max() < 1e-12
    assert translation_precision(source @ w, source @ rotation, [[i] for i in range(9)]) == {1: 1.0, 5: 1.0}
    # Broken twin: the map of the other direction.
    assert translation_precision(source @ w.T, source @ rotation, [[i] for i in range(9)])[1] < 1
    # Of noisy pairs no other orthogonal map is better.
    noisy = source @ rotation + draw.normal(size=source.shape)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (source, noisy)]
    best = np.linalg.norm(unit[0] @ orthogonal_map(source, noisy) - unit[1])
    for _ in range(50):
        other = np.linalg.qr(draw.normal(size=(6, 6)))[0]
        assert best <= np.linalg.norm(unit[0] @ other - unit[1])
    with pytest.raises(ValueError, match="not pairs of one width"):
        orthogonal_map(source, source[:, :5])


@pytest.mark.parametrize("csls", [True, False])
def test_precision_one_query_at_a_time(draw, csls):
    keys, queries = draw.normal(size=(40, 4)), draw.normal(size=(25, 4))
    keys[:3] = queries.mean(axis=0)  # near to everything
    translations = [sorted({int(i) for i in draw.integers(40, size=2)}) for _ in queries]
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, keys))
    right = {1: 0, 5: 0}
    for i, places in enumerate(translations):
        scores = []
        for j in range(len(y)):
            near_x = np.mean(sorted((x[i] @ key for key in y), reverse=True)[:10])
            near_y = np.mean(sorted((query @ y[j] for query in x), reverse=True)[:10])
            scores.append(2 * x[i] @ y[j] - near_x - near_y if csls else x[i] @ y[j])
        order = np.argsort(scores)[::-1]
        for k in right:
            right[k] += bool(set(order[:k]) & set(places))
    found = translation_precision(queries, keys, translations, csls=csls)
    assert found == {k: pytest.approx(count / 25, abs=0.05) for k, count in right.items()}
    other = translation_precision(queries, keys, translations, (1, 5, 10), csls=not csls)
    assert other[5] != found[5]  # broken twin: the other score


def test_queries_without_translation(draw):
    with pytest.raises(ValueError, match="at least one translation"):
        translation_precision(np.ones((2, 2)), np.ones((2, 2)), [[0], []])
    assert translation_precision(np.ones((2, 2)), np.ones((4, 2)), [[0], [1]]) == {1: 0.25, 5: 1.0}
