"""Tiny instances of the tasks on sentences, for the contract in tests/test_tasks.py."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch, Task
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.collate import TextsCollate
from modalities.text.rows import Row
from modalities.text.sbert import SBERT, SBERTConfig
from modalities.text.simcse import SimCSE, SimCSEConfig
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

ROWS = 8
TINY = ModelConfig(width=16, layers=1, heads=2, feed_forward=32, length=12)
TEXTS = [
    ["the red cat sleeps", "a cat, red, lies asleep", "the red cat wakes"],
    ["two dogs run home", "homeward run a pair of dogs", "two dogs stay away"],
    ["old men talk", "men of age speak", "old men are silent"],
    ["it rains on the sea", "rain falls over the sea", "it is dry at sea"],
    ["she reads a long book", "a long book is read by her", "she writes a short letter"],
    ["bread and salt", "salt and some bread", "water without bread"],
    ["the ship came late today", "late today the ship arrived", "the ship left early today"],
    ["nine", "the number nine", "the number four"],
]


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """Trained on `TEXTS`."""
    return build_tokenizer(TokenizerConfig(vocabulary=190), [text for row in TEXTS for text in row], TINY.length)


def encoder() -> PreTrainedModel:
    """A BERT of width 16."""
    return build_model(TINY, tokenizer())


def batch(texts: int) -> Batch:
    """Eight rows of so many texts, with labels and scores."""
    rows = [Row(id=i, texts=given[:texts], label=i % 2, score=(0.9, 0.2, -0.1)[i % 3]) for i, given in enumerate(TEXTS)]
    collate = TextsCollate(tokenizer(), TINY.length, labels=True, scores=True)
    return collate(rows, np.arange(ROWS, dtype=np.uint64) * np.uint64(7919) + np.uint64(11))


def simcse(texts: int) -> tuple[Task, Batch]:
    return SimCSE(encoder(), tokenizer(), TINY.length, SimCSEConfig()), batch(texts)


def sbert(cfg: SBERTConfig) -> tuple[Task, Batch]:
    found = batch(2)
    found["scores"] = found["scores"].to(torch.float64)
    return SBERT(encoder(), tokenizer(), TINY.length, cfg), found


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "simcse": (SimCSE, lambda: simcse(1)),
    "simcse, supervised": (SimCSE, lambda: simcse(2)),
    "simcse, hard negatives": (SimCSE, lambda: simcse(3)),
    "sbert, classification": (SBERT, lambda: sbert(SBERTConfig())),
    "sbert, regression": (SBERT, lambda: sbert(SBERTConfig(objective="regression"))),
}
