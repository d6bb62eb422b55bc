"""Word and character error rates: worked out by hand, and unlike the mean over sentences."""

import numpy as np
import pytest

from evaluation.error_rates import error_rates


@pytest.mark.parametrize(
    ("said", "heard", "wer", "cer"),
    [
        (["the cat sat"], ["the cat sat"], 0, 0),
        (["the cat sat"], [""], 1, 1),
        (["the cat sat"], ["the bat sat"], 1 / 3, 1 / 11),  # a substitution
        (["the cat sat"], ["the sat"], 1 / 3, 4 / 11),  # a deletion, of a space too
        (["the cat"], ["the old cat"], 1 / 2, 4 / 7),  # an insertion
        (["a"], ["b c d"], 3, 5),  # above 1
        (["a b", ""], ["a b", "x y"], 1, 1),  # what is heard in silence
        (["a  b "], [" a b"], 0, 0),
        (["ab cd", "ef"], ["ab dc", "ef"], 1 / 3, 2 / 7),
    ],
)
def test_edits_over_length(said: list[str], heard: list[str], wer: float, cer: float) -> None:
    assert error_rates(said, heard) == pytest.approx({"wer": wer, "cer": cer})


def distance(left: str, right: str) -> int:
    """Levenshtein's table, cell by cell."""
    table = np.add.outer(np.arange(len(left) + 1), np.arange(len(right) + 1))
    for i, a in enumerate(left, 1):
        for j, b in enumerate(right, 1):
            table[i, j] = min(table[i - 1, j - 1] + (a != b), table[i - 1, j] + 1, table[i, j - 1] + 1)
    return int(table[-1, -1])


def test_sums_over_all_texts_are_not_means_over_sentences() -> None:
    draw = np.random.default_rng(0)
    texts = [["".join(draw.choice(list("abc"), draw.integers(1, 12))) for _ in range(20)] for _ in range(2)]
    edits = [distance(*pair) for pair in zip(*texts, strict=True)]
    lengths = [len(text) for text in texts[0]]
    found = error_rates(*texts)["cer"]
    assert found == pytest.approx(sum(edits) / sum(lengths), abs=1e-12)
    by_sentence = np.mean([edit / length for edit, length in zip(edits, lengths, strict=True)])  # the broken twin
    assert abs(found - by_sentence) > 0.01


def test_nothing_to_divide_by_is_refused() -> None:
    with pytest.raises(ValueError, match="2 references for 1 hypotheses"):
        error_rates(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no reference holds a word"):
        error_rates(["", " "], ["a", ""])
