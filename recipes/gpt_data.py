"""What a causal language model reads: documents in packed rows, at hand or from a stream."""

from itertools import chain, islice
from typing import TYPE_CHECKING

from transformers import PreTrainedTokenizerBase

from modalities.text.packing import Packed, pack, packed_stream
from modalities.text.rows import Rows, TextSet

if TYPE_CHECKING:
    from datasets import IterableDataset

_SAMPLE = 20_000  # rows of a stream that the tokenizer is made from


def texts_of(data: TextSet) -> tuple[list[str], list[str]]:
    """Documents to train on (of a stream, the first ones) and documents to foresee; every text is one.

    Raises ValueError where nothing is held out.
    """
    rows = data.train if isinstance(data.train, Rows) else islice(data.train, _SAMPLE)
    held_out = list(chain.from_iterable(data.test.texts))
    if not any(text.strip() for text in held_out):
        raise ValueError("There is no held-out text to foresee; set data.held_out, or name a data.test_split.")
    return list(chain.from_iterable(row["texts"] for row in rows)), held_out


def training_rows(
    data: TextSet, texts: list[str], tokenizer: PreTrainedTokenizerBase, length: int
) -> "Packed | IterableDataset":
    """The training documents in rows of `length` tokens, for `fit`."""
    if isinstance(data.train, Rows):
        return pack(texts, tokenizer, length, causal=True)
    return packed_stream(data.train, tokenizer, length, causal=True)
