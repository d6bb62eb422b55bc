"""Tiny causal language models for the contract of every task."""

from collections.abc import Callable
from functools import cache

import numpy as np
from transformers import PreTrainedTokenizerBase

from modalities.task import Batch, Task
from modalities.text.backbones import ModelConfig
from modalities.text.gpt import Gpt, begin_documents, stack
from modalities.text.ngram_lm import NgramLm, NgramLmConfig
from modalities.text.packing import Packed, pack
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

ROWS, LENGTH = 8, 24
NOUNS = ["cat", "dog", "bird", "fish", "cow", "fox", "mouse", "owl", "horse", "sheep"]
VERBS = ["sees", "hears", "likes", "follows", "finds", "meets"]


def stories(count: int, seed: int = 0) -> list[str]:
    """Documents of 4 to 39 words: some share a row, some fill more than one."""
    draw = np.random.default_rng(seed)
    return [
        " ".join(f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} it" for _ in range(draw.integers(1, 10)))
        for _ in range(count)
    ]


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return begin_documents(build_tokenizer(TokenizerConfig(vocabulary=100), stories(100), LENGTH))


def rows(count: int = 40) -> Packed:
    return pack(stories(count), tokenizer(), LENGTH, causal=True)


def packed() -> Batch:
    """Rows of two documents each and no padding, so that each process has as many tokens to foresee."""
    found = rows()
    chosen = np.flatnonzero((found.segments.max(1) == 2) & (found.segments > 0).all(1))[:ROWS]
    assert len(chosen) == ROWS
    return stack([found[int(place)] for place in chosen])


def gpt(family: str) -> Gpt:
    cfg = ModelConfig(
        family=family, width=16, layers=2, heads=2, feed_forward=32, length=LENGTH, dropout=0.0  # type: ignore[arg-type]
    )  # fmt: skip
    return Gpt(cfg, tokenizer())


def ngram(direct: bool = True) -> NgramLm:
    return NgramLm(NgramLmConfig(order=4, embedding=8, width=16, direct=direct), tokenizer())


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "gpt2": (Gpt, lambda: (gpt("gpt2"), packed())),
    "llama": (Gpt, lambda: (gpt("llama"), packed())),
    "ngram": (NgramLm, lambda: (ngram(), packed())),
    "ngram without direct connections": (NgramLm, lambda: (ngram(direct=False), packed())),
}
