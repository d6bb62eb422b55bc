"""Tiny instances of word2vec and GloVe, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

import numpy as np
import torch

from modalities.task import Batch, Task
from modalities.text.glove import GloVe, GloVeConfig
from modalities.text.vocabulary import Vocabulary
from modalities.text.word2vec import Word2Vec, Word2VecConfig

ROWS, LENGTH, WORDS = 8, 60, 40


def vocabulary() -> Vocabulary:
    """Forty words, the first ones more frequent."""
    counts = 1 + 400 // (1 + np.arange(WORDS))
    return Vocabulary(tuple(f"word{number}" for number in range(WORDS)), counts.astype(np.int64))


def batch_of_words(rows: int = ROWS) -> Batch:
    """Runs of 20 to 60 words and their seeds."""
    draw = np.random.default_rng(3)
    words = np.minimum(draw.zipf(1.4, (rows, LENGTH)) - 1, WORDS - 1)
    ends = draw.integers(20, LENGTH + 1, rows)
    words[np.arange(LENGTH) >= ends[:, None]] = -1
    return {"words": torch.from_numpy(words), "seeds": torch.arange(rows) * 7919 - 20_000}


def word2vec(cbow: bool, hierarchical: bool) -> tuple[Task, Batch]:
    """In the midst of training: with outputs of zero no gradient would reach the vectors."""
    cfg = Word2VecConfig(width=16, cbow=cbow, hierarchical=hierarchical, window=3, sample=0.05, block=8, shared=4)
    task = Word2Vec(vocabulary(), cfg)
    torch.nn.init.normal_(task.encoder.embedding.weight, std=2.0)
    torch.nn.init.normal_(task.output, std=0.5)
    return task, batch_of_words()


def glove() -> tuple[Task, Batch]:
    """Eight pairs of words."""
    words, near = torch.arange(ROWS), torch.arange(ROWS).flip(0) // 2 + 5
    counts = torch.tensor([0.5, 1.0, 2.0, 3.5, 7.0, 20.0, 150.0, 4.0], dtype=torch.float64)
    task = GloVe(vocabulary(), GloVeConfig(width=16, step=3))
    for table in (task.encoder.embedding.weight, task.context):
        torch.nn.init.normal_(table)
    return task, {"words": words, "near": near, "counts": counts}


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "word2vec, skip-gram": (Word2Vec, lambda: word2vec(cbow=False, hierarchical=False)),
    "word2vec, CBOW": (Word2Vec, lambda: word2vec(cbow=True, hierarchical=False)),
    "word2vec, skip-gram down a tree": (Word2Vec, lambda: word2vec(cbow=False, hierarchical=True)),
    "word2vec, CBOW down a tree": (Word2Vec, lambda: word2vec(cbow=True, hierarchical=True)),
    "glove": (GloVe, glove),
}
