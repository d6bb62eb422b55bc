"""Tiny masked language models of each family, with and without pairs, for the contract of every task."""

from collections.abc import Callable
from functools import cache

import numpy as np
from transformers import PreTrainedTokenizerBase

from modalities.draws import mix
from modalities.task import Batch, Task
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.bert import Bert, Pairs
from modalities.text.collate import TextsCollate
from modalities.text.masking import MaskConfig, MaskedCollate
from modalities.text.packing import pack
from modalities.text.rows import documents
from modalities.text.sentence_pairs import PairsCollate, cut
from modalities.text.supervised import TextClassifier
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

ROWS, LENGTH = 8, 24
NOUNS = ["cat", "dog", "bird", "fish", "cow", "fox", "mouse", "owl", "horse", "sheep"]
VERBS = ["sees", "hears", "likes", "follows", "finds", "meets"]
MASKS = MaskConfig(share=3 / 14)  # of the 14 words that each row holds
TINY = {"width": 16, "layers": 2, "heads": 2, "feed_forward": 32, "length": LENGTH, "dropout": 0.0}


def sentences(count: int, seed: int = 0) -> list[str]:
    """Lines of a small language, all of seven words."""
    draw = np.random.default_rng(seed)
    return [f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} the old {draw.choice(NOUNS)} today" for _ in range(count)]


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer(TokenizerConfig(vocabulary=120), sentences(200), LENGTH)


def model(family: str) -> ModelConfig:
    return ModelConfig(family=family, **TINY)  # type: ignore[arg-type]


def seeds(rows: int = ROWS) -> np.ndarray:
    return mix(np.arange(rows, dtype=np.uint64))


def packed(masks: MaskConfig, rows: int = ROWS) -> Batch:
    """Rows of two documents and some padding, as many hidden tokens in each."""
    found = pack(sentences(2 * rows), tokenizer(), LENGTH)
    return MaskedCollate(tokenizer(), masks)([found[place] for place in range(rows)], seeds(rows))


def paired(kind: Pairs, rows: int = ROWS) -> Batch:
    """Pairs of sentences, as many hidden tokens in each row."""
    assert kind != "none"
    segments = cut(["\n".join(sentences(2, seed=place)) for place in range(rows)], tokenizer(), LENGTH)
    collate = PairsCollate(segments, tokenizer(), MASKS, kind)
    return collate([segments[place] for place in range(rows)], seeds(rows))


def masked(family: str, masks: MaskConfig | None = None) -> tuple[Task, Batch]:
    return Bert(model(family), tokenizer()), packed(masks or MASKS)


def with_pairs(family: str, kind: Pairs) -> tuple[Task, Batch]:
    return Bert(model(family), tokenizer(), kind), paired(kind)


def classifier() -> tuple[Task, Batch]:
    encoder = build_model(model("modernbert"), tokenizer())
    batch = TextsCollate(tokenizer(), LENGTH, labels=True)(documents(sentences(ROWS), [0, 1, 2, 0, 1, 2, 0, 1]))
    return TextClassifier(encoder, tokenizer(), 3), batch


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "bert": (Bert, lambda: masked("bert")),
    "bert, nsp": (Bert, lambda: with_pairs("bert", "nsp")),
    "albert, sop": (Bert, lambda: with_pairs("albert", "sop")),
    "roberta": (Bert, lambda: masked("roberta")),
    "modernbert": (Bert, lambda: masked("modernbert")),
    "text classifier": (TextClassifier, classifier),
}
