"""Vectors of words, found by their words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import Floats, matrix, unit_rows


@dataclass(frozen=True)
class NamedVectors:
    """Unit vectors of different words. With `fold`, words that differ only in case are one: the first of them, which is
    the most frequent where words are sorted by frequency."""

    words: list[str]
    unit: Floats
    """(c, d); a vector of zeros stays zero."""
    fold: bool
    place: dict[str, int] = field(repr=False)

    @classmethod
    def of(cls, vectors: ArrayLike, words: Sequence[str], fold: bool = True) -> "NamedVectors":
        """vectors (c, d), words (c). Raises ValueError where they do not fit each other."""
        array = matrix(vectors, "word vectors")
        if len(array) != len(words):
            raise ValueError(f"word vectors: {len(array)} vectors but {len(words)} words; give one vector per word.")
        first: dict[str, int] = {}
        for i, word in enumerate(words):
            first.setdefault(word.casefold() if fold else word, i)
        kept = list(first.values())
        place = {word: i for i, word in enumerate(first)}
        return cls([words[i] for i in kept], unit_rows(array[kept]), fold, place)

    def find(self, word: str) -> int | None:
        """Its row in `unit`; None for a word without a vector."""
        return self.place.get(word.casefold() if self.fold else word)


def nearest(vectors: NamedVectors, word: str, k: int = 10) -> list[tuple[str, float]]:
    """The k other words of the highest cosine, and that cosine, best first. Raises ValueError for an unknown word."""
    place = vectors.find(word)
    if place is None:
        raise ValueError(f"The word {word!r} has no vector: ask for one of the {len(vectors.words)} that have.")
    cosines = vectors.unit @ vectors.unit[place]  # (c,)
    cosines[place] = -np.inf
    best = np.argsort(-cosines, kind="stable")[: min(k, len(cosines) - 1)]
    return [(vectors.words[i], float(cosines[i])) for i in best]
