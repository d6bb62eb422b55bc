"""Words and their numbers: what word2vec and GloVe learn vectors of."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, normalizers, pre_tokenizers

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class VocabularyConfig:
    """Which words get a vector, and how texts are cut up for them."""

    min_count: int = 5
    """Words seen less often are left out of the text, as if they had not been there."""
    lower: bool = True
    """Lower-case all words."""
    phrase_passes: int = 0
    """Passes that join frequent pairs of words to one (new_york); each pass may lengthen what the last one joined. The
    published tokenizer does not join: vectors of phrases are for those who look them up in vectors.txt or .bin."""
    phrase_threshold: float = 100.0
    """How much more often than by chance a pair must occur to be joined."""
    run: int = 1000
    """Words in a row of training data: a longer document makes several rows."""

    def __post_init__(self) -> None:
        for name in ("min_count", "run"):
            if getattr(self, name) < 1:
                raise ValueError(f"words.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.phrase_passes < 0:
            raise ValueError(f"words.phrase_passes is {self.phrase_passes}; it must not be negative.")
        if self.phrase_threshold <= 0:
            raise ValueError(f"words.phrase_threshold is {self.phrase_threshold}; it must be above 0.")


@dataclass(frozen=True)
class Vocabulary:
    """Words by falling frequency: the number of a word is its place."""

    words: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    """Occurrences of each word, (c,)."""

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of each word."""
        return {word: place for place, word in enumerate(self.words)}

    def encode(self, words: Iterable[str]) -> npt.NDArray[np.int64]:
        """Numbers of the words that are known; the others are left out."""
        places = self.places
        return np.array([places[word] for word in words if word in places], dtype=np.int64)


def normalizer(lower: bool) -> normalizers.Normalizer:
    """Characters composed (NFC), and lower-cased one by one."""
    return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lower else [])])


def cutter() -> pre_tokenizers.PreTokenizer:
    """Runs of letters with their marks, digits and underscores."""
    return pre_tokenizers.Split(Regex(r"\w+"), behavior="removed", invert=True)


_NORMALIZERS, _CUTTER = {lower: normalizer(lower) for lower in (False, True)}, cutter()


def words_of(text: str, lower: bool = True) -> list[str]:
    """Words as the published tokenizer cuts them: `re` and `str.lower` would not do, for to them the vowel signs of
    Hindi are no part of a word, and a sigma is another one where a word ends."""
    if text.isascii():  # where all agree, and `re` is far faster
        return _WORD.findall(text.lower() if lower else text)
    return [word for word, _ in _CUTTER.pre_tokenize_str(_NORMALIZERS[lower].normalize_str(text))]


def build_vocabulary(documents: Iterable[Sequence[str]], min_count: int) -> Vocabulary:
    """The words that occur at least `min_count` times; of equally frequent ones the first in the alphabet comes first.

    Raises:
        ValueError: when fewer than two words are that frequent.
    """
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(document)
    found = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    if len(found) < 2:
        raise ValueError(
            f"Of {len(counts):,} words only {len(found)} occur words.min_count {min_count} times; lower it or "
            "give more text."
        )
    return Vocabulary(tuple(word for _, word in found), np.array([-count for count, _ in found], dtype=np.int64))
