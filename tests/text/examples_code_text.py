"""Tiny code search, for the contract of every task."""

from collections.abc import Callable
from functools import cache

import numpy as np
from transformers import PreTrainedTokenizerBase

from modalities.task import Batch, Task
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.code_text import CodeText, CodeTextCollate, CodeTextConfig
from modalities.text.rows import Row
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

SHAPE = ModelConfig(width=16, layers=1, heads=2, feed_forward=32, length=24, dropout=0.0)
CFG = CodeTextConfig(query_length=12, code_length=24)
PAIRS = [
    ("Return the sum of two numbers.", "def add(a, b):\n    return a + b"),
    (
        "Read a file and return its lines.",
        "def read_lines(path):\n    with open(path) as file:\n        return list(file)",
    ),
    ("Remove the item from the cache.", "def forget(self, key):\n    del self.cache[key]"),
    ("True if the list is empty.", "def is_empty(items):\n    return not items"),
    ("Wait until the thread ends.", "def join(self):\n    self.thread.join()"),
    ("Count the words of a text.", "def count(text):\n    return len(text.split())"),
    ("Return the sum of two numbers.", "def plus(x, y):\n    total = x + y\n    return total"),
    ("Print an error and exit.", "def die(message):\n    print(message)\n    raise SystemExit(1)"),
]


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer(TokenizerConfig(vocabulary=180), [text for pair in PAIRS for text in pair], 24)


def rows() -> list[Row]:
    return [Row(id=place, texts=list(pair), label=None, score=None) for place, pair in enumerate(PAIRS)]


def batch() -> Batch:
    return CodeTextCollate(tokenizer(), CFG)(rows(), np.arange(len(PAIRS), dtype=np.uint64) * np.uint64(2**63 // 3))


def code_text() -> CodeText:
    return CodeText(build_model(SHAPE, tokenizer()), tokenizer(), CFG)


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "code and text": (CodeText, lambda: (code_text(), batch())),
}
