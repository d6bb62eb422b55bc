"""Pairs made of translations."""

import numpy as np
import pytest

from modalities.text.pairs import graded, hard_negatives, next_in_document, same_or_not
from modalities.text.rows import Rows


def rows(texts: list[list[str]], documents: list[int]) -> Rows:
    n = len(texts)
    return Rows(np.arange(n) * 10, texts, [5] * n, [None] * n, np.array(documents))


SIX = rows([[f"a{i}", f"b{i}"] for i in range(6)], [7, 7, 3, 7, 3, 9])


def test_the_next_row_of_the_document() -> None:
    assert next_in_document(SIX).tolist() == [1, 3, 4, 0, 2, 5]


def test_hard_negatives_stand_in_the_same_document_and_say_something_else() -> None:
    found = hard_negatives(SIX)
    assert found.texts == [
        ["a0", "b0", "b1"], ["a1", "b1", "b3"], ["a2", "b2", "b4"], ["a3", "b3", "b0"], ["a4", "b4", "b2"]
    ]  # fmt: skip
    assert found.ids.tolist() == [0, 10, 20, 30, 40]
    alike = rows([["a", "same"], ["b", "same"], ["c", "other"]], [1, 1, 1])
    assert hard_negatives(alike).texts == [["b", "same", "other"], ["c", "other", "same"]]


def test_labels_say_which_pairs_mean_the_same() -> None:
    found = same_or_not(SIX)
    assert len(found) == 10
    assert all((row["texts"][0][1:] == row["texts"][1][1:]) == (row["label"] == 1) for row in found)
    assert sum(label or 0 for label in found.labels) == 5


def test_scores_fall_with_distance() -> None:
    found = graded(SIX)
    document = dict(zip([texts[0][1:] for texts in SIX.texts], SIX.documents.tolist(), strict=True))
    for row in found:
        first, second = (text[1:] for text in row["texts"])
        near = document[first] == document[second]
        assert row["score"] == (1.0 if first == second else 0.5 if near else 0.0)
    assert {0.0, 0.5, 1.0} == set(found.scores)
    assert found.texts == graded(SIX).texts and found.texts != graded(SIX, seed=1).texts


def test_rows_of_one_text_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of two texts"):
        same_or_not(rows([["a"], ["b"]], [1, 1]))
