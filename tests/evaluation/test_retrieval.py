"""Recall at k against loops and closed forms; ties must not flatter."""

from math import comb

import numpy as np
import pytest

from evaluation import arrays
from evaluation.retrieval import recall, retrieve_both


def sorted_recall(queries, keys, query_ids, key_ids, k):
    """The usual way, a loop and a sort. Right without ties; with ties it takes the order of the keys."""
    found = 0
    for query, wanted in zip(queries, query_ids, strict=True):
        cosine = [query @ key / np.linalg.norm(query) / np.linalg.norm(key) for key in keys]
        nearest = sorted(range(len(keys)), key=lambda i: -cosine[i])[:k]
        found += any(key_ids[i] == wanted for i in nearest)
    return found / len(queries)


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(30, 8))
    text_ids = np.repeat(np.arange(30), rng.integers(1, 4, size=30))
    text = image[text_ids] + 1.2 * rng.normal(size=(len(text_ids), 8))
    return image, text, np.arange(30), text_ids


def test_equals_the_loop_in_both_directions(pairs):
    image, text, image_ids, text_ids = pairs
    found = retrieve_both(image, text, image_ids, text_ids)
    assert set(found) == {f"{way}_r{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    for k in (1, 5, 10):
        there = sorted_recall(image, text, image_ids, text_ids, k)
        back = sorted_recall(text, image, text_ids, image_ids, k)
        assert found[f"image_to_text_r{k}"] == pytest.approx(there, abs=1e-12)
        assert found[f"text_to_image_r{k}"] == pytest.approx(back, abs=1e-12)
    assert found["image_to_text_r1"] != found["text_to_image_r1"]


def test_lengths_of_vectors_do_not_matter_but_directions_do(pairs):
    image, text, image_ids, text_ids = pairs
    scale = np.random.default_rng(1).uniform(0.01, 100, size=(len(text), 1))
    assert recall(image, text * scale, image_ids, text_ids) == recall(image, text, image_ids, text_ids)
    assert recall(image, -text, image_ids, text_ids) != recall(image, text, image_ids, text_ids)


def test_chunks_change_nothing(pairs, monkeypatch):
    image, text, image_ids, text_ids = pairs
    whole = retrieve_both(image, text, image_ids, text_ids)
    monkeypatch.setattr(arrays, "CHUNK_VALUES", 3 * len(text))
    assert len(arrays.row_chunks(len(image), len(text))) == 10
    chunked = retrieve_both(image, text, image_ids, text_ids)
    assert chunked == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("constant", [1.0, 0.0])
def test_a_collapsed_encoder_scores_chance(constant):
    collapsed, ids = np.full((40, 4), constant), np.arange(40)
    found = recall(collapsed, collapsed, ids, ids)
    assert found == pytest.approx({1: 1 / 40, 5: 5 / 40, 10: 10 / 40}, abs=1e-12)


def test_the_sort_flatters_a_collapsed_encoder():
    """The broken twin: one image repeated 40 times and its caption listed first."""
    queries, keys = np.ones((40, 4)), np.ones((20, 4))
    query_ids, key_ids = np.zeros(40), np.arange(20)
    assert sorted_recall(queries, keys, query_ids, key_ids, 1) == 1.0
    assert recall(queries, keys, query_ids, key_ids, ks=[1])[1] == pytest.approx(1 / 20, abs=1e-12)


def test_noise_below_single_precision_is_a_tie():
    rng = np.random.default_rng(0)
    almost = 1 + 1e-9 * rng.normal(size=(50, 6))
    found = recall(almost, almost, np.arange(50), np.arange(50), ks=[1])
    assert found[1] == pytest.approx(1 / 50, abs=1e-12)


def test_ties_with_several_right_keys_follow_the_hypergeometric_law():
    keys = np.array([[1.0, 0.0]] * 2 + [[1.0, 1.0]] * 7 + [[-1.0, 0.0]] * 3)
    key_ids = np.array([5, 6, 1, 1, 1, 2, 3, 4, 7, 1, 8, 9])
    query = np.array([[1.0, 0.0]])
    found = recall(query, keys, [1], key_ids, ks=[1, 2, 3, 5, 9, 12])
    assert found[1] == found[2] == 0.0
    assert found[3] == pytest.approx(3 / 7, abs=1e-12)
    assert found[5] == pytest.approx(1 - comb(4, 3) / comb(7, 3), abs=1e-12)
    assert found[9] == found[12] == 1.0


def test_the_expectation_equals_random_tie_breaking():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2, size=(12, 2)) + np.array([0.5, 0.0])
    queries, ids = keys[:6], np.arange(6)
    exact = recall(queries, keys, ids, np.arange(12), ks=[2])[2]
    drawn = [
        sorted_recall(queries, keys[order], ids, np.arange(12)[order], 2)
        for order in (rng.permutation(12) for _ in range(1500))
    ]
    assert abs(np.mean(drawn) - exact) < 5 * np.std(drawn) / np.sqrt(len(drawn))
    assert abs(sorted_recall(queries, keys, ids, np.arange(12), 2) - exact) > 0.1


def test_ids_may_be_words(pairs):
    image, text, image_ids, text_ids = pairs
    words = [f"row {i}" for i in image_ids], [f"row {i}" for i in text_ids]
    assert recall(image, text, *words) == recall(image, text, image_ids, text_ids)


def test_errors_name_the_value_and_the_remedy():
    good, ids = np.eye(3), np.arange(3)
    bad = good.copy()
    bad[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"keys: 1 of 3 rows hold NaN or infinity \(first: row 1\)"):
        recall(good, bad, ids, ids)
    with pytest.raises(ValueError, match=r"queries: shape \(0, 3\) holds nothing"):
        recall(good[:0], good, ids[:0], ids)
    with pytest.raises(ValueError, match=r"query 2, id 7"):
        recall(good, good, [0, 1, 7], ids)
    with pytest.raises(ValueError, match="3 against 2 dimensions"):
        recall(good, good[:, :2], ids, ids)
    with pytest.raises(ValueError, match="query_ids: expected 3"):
        recall(good, good, ids[:2], ids)
    with pytest.raises(ValueError, match="k = 0"):
        recall(good, good, ids, ids, ks=[0])
    with pytest.raises(ValueError, match="numbers or text"):
        recall(good, good, ids, ["0", "1", "2"])
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        recall(ids, good, ids, ids)
