"""Tiny Quick-thought, Skip-thought, IS-BERT, ConSERT, CERT and flow, for the contract of every task."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase

from modalities.task import Batch, Task
from modalities.text.cert import CERT, CERTConfig
from modalities.text.collate import TextsCollate
from modalities.text.consert import ConSERT, ConSERTConfig
from modalities.text.flow import Flow, FlowConfig
from modalities.text.is_bert import ISBert, ISBertConfig
from modalities.text.quick_thought import QuickThought, QuickThoughtConfig
from modalities.text.rows import Row
from modalities.text.skip_thought import SkipThought, SkipThoughtConfig
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

LENGTH = 12
SENTENCES = [
    "the sun rose over the hill", "a bird sang in the old tree", "then the wind came from the sea", "it was a cold day",
    "men went down to the ships", "they carried bread and water", "the captain gave the word", "and the sails were set",
    "no land was seen for a week", "the crew grew tired and ill", "one night a light shone far away",
]  # fmt: skip


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer(TokenizerConfig(vocabulary=120), SENTENCES, LENGTH)


def encoder() -> BertModel:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer()), max_position_embeddings=LENGTH + 2, **shape)
    return BertModel(config, add_pooling_layer=False)


def rows(texts: int, count: int = 8) -> list[Row]:
    """Rows of `texts` sentences that follow one another."""
    return [Row(id=i, texts=SENTENCES[i : i + texts], label=None, score=None) for i in range(count)]


def batch_of(texts: int, count: int = 8, length: int = LENGTH) -> Batch:
    seeds = np.arange(1, count + 1, dtype=np.uint64) << np.uint64(60)  # of both signs
    return TextsCollate(tokenizer(), length)(rows(texts, count), seeds)


def quick_thought() -> tuple[Task, Batch]:
    return QuickThought(encoder(), tokenizer(), LENGTH, QuickThoughtConfig()), batch_of(2)


def skip_thought() -> tuple[Task, Batch]:
    """All texts are cut at as many tokens, so that the mean of two processes' means is that of all."""
    return SkipThought(encoder(), tokenizer(), LENGTH, SkipThoughtConfig(decoder_width=16)), batch_of(3, length=7)


def is_bert() -> tuple[Task, Batch]:
    return ISBert(encoder(), tokenizer(), LENGTH, ISBertConfig(channels=8)), batch_of(1)


def consert() -> tuple[Task, Batch]:
    return ConSERT(encoder(), tokenizer(), LENGTH, ConSERTConfig()), batch_of(1)


def cert() -> tuple[Task, Batch]:
    """With a queue that one process has filled, for an empty one leaves nothing to learn."""
    task, batch = CERT(encoder(), tokenizer(), LENGTH, CERTConfig(queue=12, projection=8, temperature=0.1)), batch_of(2)
    task(batch)
    task.stored[:8], task.stored_ids[:8] = task.new.keys.pop(), task.new.ids.pop()
    task.pointer.fill_(8)
    return task, batch


def flow() -> tuple[Task, Batch]:
    vectors = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32) ** 3
    return Flow(vectors, FlowConfig(blocks=2, hidden=16)), {"vectors": torch.from_numpy(vectors).double()}


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "quick-thought": (QuickThought, quick_thought),
    "skip-thought": (SkipThought, skip_thought),
    "is-bert": (ISBert, is_bert),
    "consert": (ConSERT, consert),
    "cert": (CERT, cert),
    "flow": (Flow, flow),
}
