"""Texts as runs of word numbers: the rows that word2vec trains on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modalities.draws import as_signed
from modalities.text.phrases import join_phrases
from modalities.text.rows import Rows
from modalities.text.vocabulary import Vocabulary, VocabularyConfig, build_vocabulary, words_of

PADDING = -1


@dataclass(frozen=True)
class WordRuns:
    """An indexable set of runs of at most `length` words of one document; nothing is cut off."""

    words: npt.NDArray[np.int64]
    """Numbers of all words, end to end."""
    starts: npt.NDArray[np.int64]
    """Where each run starts, and where the last one ends, (n + 1,)."""
    length: int
    """Words of the longest run."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> npt.NDArray[np.int64]:
        return self.words[self.starts[index] : self.starts[index + 1]]


def read_words(rows: Rows, cfg: VocabularyConfig) -> list[list[str]]:
    """The words of each text, phrases joined."""
    documents = [words_of(text, cfg.lower) for texts in rows.texts for text in texts]
    return join_phrases(documents, cfg.phrase_passes, cfg.phrase_threshold) if cfg.phrase_passes else documents


def word_runs(documents: Sequence[Sequence[str]], vocabulary: Vocabulary, run: int) -> WordRuns:
    """Documents as runs of `run` words that the vocabulary knows; the last run of a document is shorter."""
    encoded = [vocabulary.encode(document) for document in documents]
    sizes = [min(run, len(ids) - start) for ids in encoded for start in range(0, len(ids), run)]
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return WordRuns(np.concatenate(encoded), starts, max(sizes))


def prepare_words(rows: Rows, cfg: VocabularyConfig) -> tuple[list[list[str]], Vocabulary, WordRuns]:
    """Documents as words, their vocabulary, and the rows to train on."""
    documents = read_words(rows, cfg)
    vocabulary = build_vocabulary(documents, cfg.min_count)
    return documents, vocabulary, word_runs(documents, vocabulary, cfg.run)


class RunsCollate:
    """words long (n, t), with -1 after a run's end, and seeds int64 (n,). t is always `length`: all processes must
    have rows of one size to exchange."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, rows: Sequence[npt.NDArray[np.int64]], seeds: npt.NDArray[np.uint64]) -> dict[str, Tensor]:
        """See the class."""
        words = np.full((len(rows), self.length), PADDING, dtype=np.int64)
        for place, row in enumerate(rows):
            words[place, : len(row)] = row
        return {"words": torch.from_numpy(words), "seeds": as_signed(seeds)}
