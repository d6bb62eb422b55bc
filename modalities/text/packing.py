"""Documents to rows of one length: nothing is dropped, and no token sees another document."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.text.backbones import CAUSAL, MASKED, POSITIONS_AFTER_PADDING
from modalities.text.layout import SmallInts, lay_out
from modalities.text.rows import Row

if TYPE_CHECKING:
    from datasets import IterableDataset

Ints = npt.NDArray[np.int64]
_LOT = 256  # documents of a stream that are packed together
_AT_ONCE = 1 << 22  # characters that are tokenized at once; their tokens as Python lists take some 300 MB


class PackedRow(TypedDict):
    """`length` tokens from one document or several, in order."""

    input_ids: Ints
    segments: Ints
    """1, 2, 3 ... for the first, second, third document of the row; 0 at padding."""
    position_ids: Ints
    """Counted from 0 in each segment."""
    words: Ints
    """Number of the word a token is part of, counted in each row; -1 at special tokens and padding."""


@dataclass(frozen=True)
class Packed:
    """Rows of one length: an indexable data set for `fit`. (rows, length) each; a row is widened when it is read."""

    input_ids: SmallInts
    segments: SmallInts
    position_ids: SmallInts
    words: SmallInts
    tokens: int
    """Tokens that are not padding."""

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: int) -> PackedRow:
        return PackedRow(
            input_ids=self.input_ids[index].astype(np.int64),
            segments=self.segments[index].astype(np.int64),
            position_ids=self.position_ids[index].astype(np.int64),
            words=self.words[index].astype(np.int64),
        )


def pack(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int, causal: bool = False) -> Packed:
    """Tokenize and pack. A document longer than a row is cut into pieces that follow one another, and pieces fill the
    rows in order. Each piece stands between cls and sep; with `causal` a document begins with bos, where there is one,
    and ends with eos. Texts without a token have no piece; marks that are spelled out in a text ("[SEP]") are text.

    Raises:
        ValueError: for rows too short for a piece, a tokenizer without the marks, or texts without a token.
    """
    _check(tokenizer, length, causal)
    parts = [_tokenized(some, tokenizer, causal) for some in _pieces_of_work(texts)]
    ids, words, lengths = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if len(ids) == 0:
        raise ValueError("The texts to pack have no token; check data.source and data.text_column.")
    grid = lay_out(ids, words, lengths, tokenizer, length, causal)
    return Packed(**grid, tokens=int((grid["segments"] > 0).sum()))


def packed_stream(
    stream: "IterableDataset", tokenizer: PreTrainedTokenizerBase, length: int, causal: bool = False
) -> "IterableDataset":
    """The packed rows of a stream of text rows, for `fit`: every text of a row is a document. Documents are packed
    some hundred at a time, and the last row of each lot is filled with padding."""
    _check(tokenizer, length, causal)

    def lot(rows: dict[str, Any]) -> dict[str, Ints]:
        ids, words, lengths = _tokenized([text for texts in rows["texts"] for text in texts], tokenizer, causal)
        if len(ids) == 0:
            return {name: np.zeros((0, length), np.int64) for name in PackedRow.__annotations__}
        grid = lay_out(ids, words, lengths, tokenizer, length, causal)
        return {name: values.astype(np.int64) for name, values in grid.items()}

    return stream.map(lot, batched=True, batch_size=_LOT, remove_columns=list(Row.__annotations__))


def same_document(segments: Tensor, causal: bool = False) -> Tensor:
    """Who may look at whom: segments (n, t) -> bool (n, 1, t, t), true within a document, and with `causal` backwards
    only. Padding looks at padding, for attention to nothing is not a number."""
    seen = segments[:, None, :, None] == segments[:, None, None, :]
    if causal:
        t = segments.shape[1]
        seen = seen & torch.ones(t, t, dtype=torch.bool, device=segments.device).tril()
    return seen


def packed_inputs(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """What to call a stock model with so that every document of packed rows has the outputs it would have alone:
    input_ids (n, t), an attention mask and position_ids.

    batch: input_ids, segments and position_ids (n, t). The model is BERT, ALBERT, RoBERTa (also XLM-RoBERTa
    or CamemBERT), ModernBERT or ELECTRA, or GPT-2 or Llama (causal), with or without a head, with sdpa or eager
    attention.

    Raises:
        ValueError: for a model of another family, of which nobody here knows whether it may see what follows.
    """
    config, family = model.config, model.config.model_type
    if family not in (*MASKED, *CAUSAL):
        raise ValueError(
            f"A model of family {family} cannot read packed rows; choose one of {', '.join((*MASKED, *CAUSAL))}."
        )
    causal = family in CAUSAL
    position_ids, seen = batch["position_ids"], same_document(batch["segments"], causal)
    inputs: dict[str, Any] = {"input_ids": batch["input_ids"]}
    if family in POSITIONS_AFTER_PADDING:
        position_ids = position_ids + config.pad_token_id + 1
    if causal:  # no text is continued, so keys and values need not be kept
        inputs["use_cache"] = False
    mask: Any = _for_attention(seen, model)
    if family == "modernbert":  # some layers look no further than a window
        places = torch.arange(seen.shape[-1], device=seen.device)
        near = (places[:, None] - places).abs() <= config.sliding_window
        mask = {"full_attention": mask, "sliding_attention": _for_attention(seen & near, model)}
    return inputs | {"attention_mask": mask, "position_ids": position_ids}


def _for_attention(seen: Tensor, model: PreTrainedModel) -> Tensor:
    """sdpa takes the mask as it is; the eager form adds it to the scores."""
    if model.config._attn_implementation == "sdpa":
        return seen
    return torch.zeros(seen.shape, dtype=model.dtype, device=seen.device).masked_fill(
        ~seen, torch.finfo(model.dtype).min
    )


def _check(tokenizer: PreTrainedTokenizerBase, length: int, causal: bool) -> None:
    least = 1 if causal else 3
    if length < least:
        raise ValueError(f"model.length {length} is too short for a row of tokens; it must be at least {least}.")
    needed = ("pad_token", "eos_token") if causal else ("pad_token", "cls_token", "sep_token")
    missing = [name for name in needed if getattr(tokenizer, name) is None]
    if missing:
        raise ValueError(
            f"The tokenizer {tokenizer.name_or_path!r} has no {' and no '.join(missing)}, which packing needs."
        )


def _pieces_of_work(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch


def _tokenized(texts: list[str], tokenizer: PreTrainedTokenizerBase, causal: bool) -> tuple[Ints, Ints, Ints]:
    """Tokens and their words, end to end, and how many of them each text has."""
    if not texts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    # A text longer than the model is not a mistake here, so the tokenizer is not to warn of it.
    quiet: dict[str, Any] = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    encoded = tokenizer(texts, split_special_tokens=True, **quiet)
    begin = [tokenizer.bos_token_id] if causal and tokenizer.bos_token_id is not None else []
    end = [tokenizer.eos_token_id] if causal else []
    ids, words = [], []
    for place, found in enumerate(encoded["input_ids"]):
        if found:
            ids.append(np.array(begin + found + end, dtype=np.int64))
            word_ids = [None] * len(begin) + encoded.word_ids(place) + [None] * len(end)
            # None becomes not-a-number, which numpy is faster to replace than Python.
            words.append(np.nan_to_num(np.array(word_ids, dtype=np.float64), nan=-1.0).astype(np.int64))
    lengths = np.array([len(some) for some in ids], dtype=np.int64)
    empty = [np.zeros(0, np.int64)]
    return np.concatenate(empty + ids), np.concatenate(empty + words), lengths
