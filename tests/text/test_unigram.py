"""The Unigram model against what it maximises, worked out the long way."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from modalities.text.unigram import Lattice, train_unigram

WORDS = {"▁banana": 7, "▁bandana": 5, "▁ban": 9, "▁nab": 2, "▁anna": 4, "▁b": 3}


def spellings(word: str, pieces: list[str]) -> Iterator[list[int]]:
    if not word:
        yield []
    for i, piece in enumerate(pieces):
        if word.startswith(piece):
            yield from ([i, *rest] for rest in spellings(word[len(piece) :], pieces))


PIECES = ["▁", "a", "b", "d", "n", "an", "ana", "ban", "▁ban", "na"]
LOG_SHARES = np.log(np.random.default_rng(0).dirichlet(np.ones(len(PIECES))))


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_expected_uses_are_those_over_all_spellings(shift: float) -> None:
    uses = Lattice.of(list(WORDS), PIECES).expected_uses(LOG_SHARES, np.array([*WORDS.values()], dtype=np.float64))
    wanted = np.zeros(len(PIECES))
    for word, count in WORDS.items():
        ways = list(spellings(word, PIECES))
        assert len(ways) > 1 or word == "▁b"
        weights = np.array([math.exp(sum(LOG_SHARES[i] + shift * i for i in way)) for way in ways])
        for way, share in zip(ways, weights / weights.sum(), strict=True):
            np.add.at(wanted, way, count * share)
    assert (np.abs(uses - wanted).max() < 1e-12) == (shift == 0)  # shifted: the broken twin


def test_the_best_spelling_is_the_most_probable_one() -> None:
    found = Lattice.of(list(WORDS), PIECES).log_best(LOG_SHARES)
    wanted = [max(sum(LOG_SHARES[i] for i in way) for way in spellings(word, PIECES)) for word in WORDS]
    assert np.abs(found - wanted).max() < 1e-12
    without = Lattice.of(PIECES, PIECES, whole=False).log_best(LOG_SHARES)
    assert without[PIECES.index("ana")] == pytest.approx(
        max(LOG_SHARES[[1, 4, 1]].sum(), LOG_SHARES[[5, 1]].sum(), LOG_SHARES[[1, 9]].sum()), abs=1e-12
    )


def test_keeping_some_pieces_is_starting_with_them() -> None:
    kept = np.array([piece != "an" for piece in PIECES])
    some = [piece for piece in PIECES if piece != "an"]
    counts = np.ones(len(WORDS))
    left = Lattice.of(list(WORDS), PIECES).keeping(kept).expected_uses(LOG_SHARES, counts)
    assert np.abs(left[kept] - Lattice.of(list(WORDS), some).expected_uses(LOG_SHARES[kept], counts)).max() < 1e-12
    assert left[~kept] == 0


def test_training_keeps_characters_and_finds_the_common_words() -> None:
    trained = train_unigram(WORDS, 9)
    pieces = dict(trained)
    assert len(pieces) == 9
    assert {"▁", "a", "b", "d", "n"} < set(pieces)
    assert "▁ban" in pieces
    assert sum(math.exp(score) for score in pieces.values()) == pytest.approx(1)
    assert [score for _, score in trained] == sorted(pieces.values(), reverse=True)


def test_the_order_of_the_words_does_not_matter() -> None:
    assert train_unigram(dict(reversed(WORDS.items())), 9) == train_unigram(WORDS, 9)
    assert train_unigram(WORDS | {"▁nab": 30}, 9) != train_unigram(WORDS, 9)


def test_words_without_end_are_learnt_from_in_parts() -> None:
    pieces = dict(train_unigram({"ab" * 5000: 1}, 4))
    assert {"a", "b"} < set(pieces) and all(math.isfinite(score) for score in pieces.values())
