"""Which words of a text were capitalised: labels of words that need no annotator.

The text is lower-cased first, so that the answer stands nowhere in what a model reads. Words that begin a sentence or a
line are capitalised by rule and say nothing; they are read, but not asked about.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_TOKEN = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")
_ENDS = frozenset(".!?:\"“”'‘’(*")
"""What may stand before a word that is capitalised by rule."""


@dataclass(frozen=True)
class Capitals:
    """Passages as lower-cased words, and what was asked about them."""

    texts: list[list[str]]
    """Words and punctuation marks."""
    asked: npt.NDArray[np.bool_]
    """Of all words of all texts in order, (w,): words of letters that begin no sentence."""
    labels: npt.NDArray[np.int64]
    """1 where the word was capitalised, (w,)."""

    @property
    def words(self) -> list[str]:
        """All words of all texts in order."""
        return [word for text in self.texts for word in text]


def capitals(texts: Iterable[str], longest: int = 64) -> Capitals:
    """Lines of the texts in passages of at most `longest` words and marks."""
    passages: list[list[str]] = []
    asked: list[bool] = []
    labels: list[int] = []
    for line in (line for text in texts for line in text.split("\n")):
        found = _TOKEN.findall(line)
        for start in range(0, len(found), longest):
            piece = found[start : start + longest]
            passages.append([word.lower() for word in piece])
            for place, word in enumerate(piece, start):
                begins = place == 0 or found[place - 1] in _ENDS
                asked.append(word[0].isalpha() and not begins)
                labels.append(int(word[0].isupper()))
    return Capitals(passages, np.array(asked, dtype=np.bool_), np.array(labels, dtype=np.int64))
