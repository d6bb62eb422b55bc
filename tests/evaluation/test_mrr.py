"""Mean reciprocal rank against a sort, and ties, which must not flatter."""

import numpy as np
import pytest

from evaluation.mrr import reciprocal_ranks


def by_sorting(queries: np.ndarray, keys: np.ndarray) -> list[float]:
    found = []
    for place, query in enumerate(queries):
        cosine = [query @ key / np.linalg.norm(query) / np.linalg.norm(key) for key in keys]
        order = sorted(range(len(keys)), key=lambda i: -cosine[i])
        found.append(1 / (1 + order.index(place)))
    return found


def test_equals_a_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(40, 6))
    queries = keys * rng.uniform(0.1, 9, size=(40, 1)) + 1.5 * rng.normal(size=(40, 6))
    wanted = by_sorting(queries, keys)
    assert len(set(wanted)) > 3
    np.testing.assert_allclose(reciprocal_ranks(queries, keys), wanted, atol=1e-12)
    monkeypatch.setattr("evaluation.mrr.row_chunks", lambda rows, width: [slice(0, 7), slice(7, rows)])
    np.testing.assert_allclose(reciprocal_ranks(queries, keys), wanted, atol=1e-12)
    swapped = reciprocal_ranks(keys, queries)  # the broken twin: the other direction
    assert abs(swapped.mean() - np.mean(wanted)) > 1e-3


def test_ties_score_as_guessing() -> None:
    same = np.ones((10, 3))
    np.testing.assert_allclose(reciprocal_ranks(same, same), np.mean(1 / np.arange(1, 11)), atol=1e-12)
    keys = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    queries = np.array([[1.0, 0.1], [1.0, 0.1], [1.0, 0.1]])
    np.testing.assert_allclose(reciprocal_ranks(queries, keys), [0.75, 0.75, 1 / 3], atol=1e-12)


def test_refuses_what_does_not_pair_up() -> None:
    with pytest.raises(ValueError, match="3 queries and 2 keys"):
        reciprocal_ranks(np.ones((3, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"3.*2"):
        reciprocal_ranks(np.ones((2, 3)), np.ones((2, 2)))
