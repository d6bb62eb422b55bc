"""Masks for masked language models: which tokens are hidden, and by what (BERT, arXiv 1810.04805).

Everything is drawn from the rows' seeds, so that a mask is new in each epoch, the same on any number of processes, and
does not depend on how far a row is padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from modalities.draws import mix, uniform
from modalities.text.packing import Ints, PackedRow
from objectives.predictive import IGNORE

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Seeds = npt.NDArray[np.uint64]

_SPANS, _ORDER, _LAST, _FATE, _TOKENS = range(1, 6)  # what a row's numbers are drawn for


@dataclass(frozen=True)
class MaskConfig:
    """What is hidden from the model."""

    share: float = 0.15
    """Share of a row's tokens to predict."""
    unit: Literal["token", "word", "span"] = "token"
    """What is hidden as one: a token, all tokens of a word, or several words in a row (SpanBERT, arXiv 1907.10529)."""
    masked: float = 0.8
    """Share of the chosen ones that [MASK] replaces."""
    random: float = 0.1
    """Share of the chosen ones that random tokens replace; the rest stays as it is, and is predicted all the same."""
    span_end: float = 0.2
    """Probability that a span ends with a word."""
    longest_span: int = 10
    """Words of a span at most."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"masks.share is {self.share}; it must be above 0 and below 1.")
        if min(self.masked, self.random) < 0 or self.masked + self.random > 1:
            raise ValueError(
                f"masks.masked {self.masked} and masks.random {self.random} must be shares, of 1 together at most."
            )
        if not 0 < self.span_end < 1:
            raise ValueError(f"masks.span_end is {self.span_end}; it must be above 0 and below 1.")
        if self.longest_span < 1:
            raise ValueError(f"masks.longest_span is {self.longest_span}; it must be at least 1.")


class Masking:
    """Hides tokens of rows: (n, t) in, (n, t) out."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, cfg: MaskConfig) -> None:
        if tokenizer.mask_token_id is None:
            raise ValueError(
                "The tokenizer has no mask token, which masked language models need; train one, or add it to this one."
            )
        self.cfg = cfg
        self.mask_token = tokenizer.mask_token_id
        self.special = np.array(sorted(tokenizer.all_special_ids), dtype=np.int64)
        self.ordinary = np.setdiff1d(np.arange(len(tokenizer)), self.special)

    def __call__(self, input_ids: Ints, words: Ints, segments: Ints, seeds: Seeds) -> tuple[Ints, Ints]:
        """What the model reads, and what it has to say (-100 where nothing).

        words and segments as in `PackedRow`: neither special tokens nor padding is ever chosen.
        """
        maskable = (words >= 0) & ~np.isin(input_ids, self.special)
        chosen, fate = choose(maskable, words, segments, seeds, self.cfg)
        random = self.ordinary[(_draw(seeds, _TOKENS, input_ids.shape[1]) * len(self.ordinary)).astype(np.int64)]
        hidden = np.where(fate < self.cfg.masked, self.mask_token, random)
        replaced = chosen & (fate < self.cfg.masked + self.cfg.random)
        return np.where(replaced, hidden, input_ids), np.where(chosen, input_ids, IGNORE)


def choose(maskable: Bools, words: Ints, segments: Ints, seeds: Seeds, cfg: MaskConfig) -> tuple[Bools, Floats]:
    """Which tokens are to be predicted, (n, t), and a number in [0, 1) for each that all tokens of a unit share.

    Units are taken in random order until a row's share is full. The one that exceeds it is taken with the probability
    at which the expected number of tokens is the share exactly: whole words would else be too many, or long ones rare.
    """
    n, t = maskable.shape
    unit = _units(maskable, words, segments, seeds, cfg)  # (n, t), -1 where nothing may be hidden
    rows = np.arange(n)[:, None]
    sizes = np.zeros((n, t + 1), dtype=np.int64)
    np.add.at(sizes, (rows, unit), 1)  # what has no unit lands in the last column
    sizes = sizes[:, :t]
    order = np.argsort(np.where(sizes > 0, _draw(seeds, _ORDER, t), 2.0), axis=1)
    size = np.take_along_axis(sizes, order, axis=1)  # (n, t), in the order in which units are taken
    room = cfg.share * maskable.sum(axis=1, keepdims=True) - (np.cumsum(size, axis=1) - size)  # before each
    with_luck = _draw(seeds, _LAST, 1) * size < room  # of what fits whole always, of the last one sometimes
    taken = np.zeros((n, t + 1), dtype=np.bool_)
    np.put_along_axis(taken[:, :t], order, (size > 0) & with_luck, axis=1)
    fate = np.append(_draw(seeds, _FATE, t), np.zeros((n, 1)), axis=1)
    return taken[rows, unit], fate[rows, unit]


def _units(maskable: Bools, words: Ints, segments: Ints, seeds: Seeds, cfg: MaskConfig) -> Ints:
    """Number of the unit that each token is part of, counted in each row; -1 where `maskable` is false."""
    if cfg.unit == "token":
        starts = maskable
    else:
        starts = maskable & (_changes(words) | _changes(segments) | _changes(maskable))
        if cfg.unit == "span":
            word = np.cumsum(starts, axis=1) - 1
            span = _spans(seeds, maskable.shape[1], cfg)  # (n, t), by word
            span_of = np.take_along_axis(span, np.maximum(word, 0), axis=1)
            starts = maskable & (_changes(span_of) | _changes(segments) | _changes(maskable))
    return np.where(maskable, np.cumsum(starts, axis=1) - 1, -1)


def _spans(seeds: Seeds, t: int, cfg: MaskConfig) -> Ints:
    """Number of the span that each of t words falls into when a row is cut into spans of random length, (n, t).

    To cut first and choose among the spans then gives chosen ones the lengths that were drawn, without overlaps.
    """
    stays = 1 - cfg.span_end
    u = _draw(seeds, _SPANS, t)
    lengths = 1 + np.floor(np.log1p(-u * (1 - stays**cfg.longest_span)) / np.log(stays)).astype(np.int64)
    ends = np.minimum(np.cumsum(np.minimum(lengths, cfg.longest_span), axis=1), t)
    begun = np.zeros((len(seeds), t + 1), dtype=np.int64)
    np.put_along_axis(begun, ends, 1, axis=1)
    return np.cumsum(begun[:, :t], axis=1)


def _changes(values: npt.NDArray[np.generic]) -> Bools:
    """Where a value differs from the one before it, (n, t); the first does."""
    found = np.ones(values.shape, dtype=np.bool_)
    found[:, 1:] = values[:, 1:] != values[:, :-1]
    return found


def _draw(seeds: Seeds, stream: int, count: int) -> Floats:
    """(n, count) numbers in [0, 1), of which the first ones do not depend on count."""
    return uniform(mix(seeds ^ np.uint64(stream)), count)


class MaskedCollate:
    """Packed rows, or rows of several lengths, to what `Bert` reads: input_ids and labels (n, t) long with
    position_ids and segments (n, t), or attention_mask (n, t) where every row is one document. Rows are padded to the
    longest, up to a multiple of `multiple_of`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, cfg: MaskConfig, multiple_of: int = 8) -> None:
        self.masking = Masking(tokenizer, cfg)
        self.padding = {"input_ids": tokenizer.pad_token_id, "words": -1, "segments": 0, "position_ids": 0}
        self.multiple_of = multiple_of

    def __call__(self, rows: Sequence[PackedRow], seeds: Seeds) -> dict[str, Tensor]:
        """See the class."""
        found = {name: self._join([row[name] for row in rows], fill) for name, fill in self.padding.items()}  # type: ignore[literal-required]
        seeds = np.asarray(seeds, dtype=np.uint64)
        inputs, labels = self.masking(found["input_ids"], found["words"], found["segments"], seeds)
        batch = {"input_ids": inputs, "labels": labels}
        if found["segments"].max(initial=0) <= 1:
            batch["attention_mask"] = found["segments"]
        else:
            batch |= {"segments": found["segments"], "position_ids": found["position_ids"]}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}

    def _join(self, rows: Sequence[Ints], fill: int) -> Ints:
        longest = max(map(len, rows))
        if any(len(row) != longest for row in rows):
            longest = -(-longest // self.multiple_of) * self.multiple_of
        joined = np.full((len(rows), longest), fill, dtype=np.int64)
        for place, row in enumerate(rows):
            joined[place, : len(row)] = row
        return joined
