"""Tiny ELECTRA, for the contract of every task."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from modalities.task import Batch, Task
from modalities.text.backbones import ModelConfig
from modalities.text.electra import PAPER, RELEASED, Electra, ElectraCollate, ElectraConfig
from modalities.text.masking import MaskConfig
from modalities.text.packing import pack
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

ROWS, LENGTH = 8, 40
SHAPE = ModelConfig(family="electra", width=16, layers=2, heads=2, feed_forward=32, length=LENGTH, dropout=0.0)
# Of quite different lengths, so that rows differ in padding and the two halves of a batch in tokens.
STORIES = [
    "the red fox ran over the hill and the dog slept",
    "a cat sat on the mat while it rained all day long and the river rose",
    "two mice ate the cheese",
    "the old cow gave milk",
    "one grey owl saw the moon rise over the quiet wood and flew away",
    "birds sing in the morning",
    "green frogs jump into the cold pond when the sun sets and the wind is still",
    "the dog barked",
]


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer(TokenizerConfig(vocabulary=150), STORIES, LENGTH)


def batch(masks: MaskConfig = RELEASED, stories: Sequence[str] = STORIES) -> Batch:
    """A row of each story, in rows of different lengths, and seeds of all signs."""
    rows = [pack([story], tokenizer(), LENGTH)[0] for story in stories]
    return ElectraCollate(tokenizer(), masks)(rows, np.arange(len(rows), dtype=np.uint64) * np.uint64(2**63 // 3))


def even_batch(masks: MaskConfig = RELEASED) -> Batch:
    """Both halves have as many tokens: the contract takes the plain mean of two processes' losses."""
    return batch(masks, STORIES[:4] * 2)


def electra(shape: ModelConfig = SHAPE) -> Electra:
    task = Electra(shape, tokenizer(), ElectraConfig(narrower=2))
    # It knows how many tokens are replaced; otherwise that alone is the whole gradient, whatever the other weights.
    nn.init.constant_(task.encoder.discriminator_predictions.dense_prediction.bias, -2.0)
    return task


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "electra": (Electra, lambda: (electra(), even_batch())),
    "electra, as in the paper": (Electra, lambda: (electra(), even_batch(PAPER))),
}
