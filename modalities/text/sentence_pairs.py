"""Pairs of segments: does the second follow the first (BERT, arXiv 1810.04805), or are they swapped (ALBERT, arXiv
1909.11942)?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from modalities.draws import mix, uniform
from modalities.text.masking import MaskConfig, Masking
from modalities.text.packing import Ints

_PAIR = np.uint64(11)  # stream of the numbers that decide about pairs
_MARKS = 3  # [CLS] A [SEP] B [SEP]


class Segment(TypedDict):
    """A stretch of a document."""

    input_ids: Ints
    words: Ints
    """Number of the word that each token is part of, from 0."""


class Neighbours(TypedDict):
    """Two segments of one document, the second right after the first."""

    first: Segment
    second: Segment
    document: int


@dataclass(frozen=True)
class Segments:
    """Every two consecutive segments of every document: an indexable data set for `fit`."""

    segments: list[Segment]
    """In the order of the documents."""
    documents: Ints
    """Of each segment, ascending, (s,)."""
    firsts: Ints
    """Segments that another one of their document follows, (n,)."""
    alone: int
    """Documents that are too short for two segments."""

    def __len__(self) -> int:
        return len(self.firsts)

    def __getitem__(self, index: int) -> Neighbours:
        place = int(self.firsts[index])
        return Neighbours(
            first=self.segments[place], second=self.segments[place + 1], document=int(self.documents[place])
        )

    def of_another(self, document: int, u: float) -> Segment:
        """A segment of any other document; u in [0, 1) decides which."""
        start, stop = np.searchsorted(self.documents, (document, document + 1))
        place = int(u * (len(self.segments) - (stop - start)))
        return self.segments[place if place < start else place + (stop - start)]


def cut(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int) -> Segments:
    """Documents in segments of whole lines (paragraphs, verses), as many as fit half of `length` tokens; a line that is
    longer is cut, and of a document that one segment holds, halves are made.

    Raises:
        ValueError: when fewer than two documents are long enough for two segments, or length holds no two.
    """
    room = (length - _MARKS) // 2
    if room < 1:
        raise ValueError(f"model.length {length} holds no two segments and their {_MARKS} marks; raise it.")
    segments: list[Segment] = []
    documents: list[int] = []
    alone = 0
    for number, text in enumerate(texts):
        found = _of_document(text.split("\n"), tokenizer, room)
        if len(found) == 1 and len(found[0]["input_ids"]) > 1:
            found = _pieces(found[0], -(-len(found[0]["input_ids"]) // 2))
        alone += len(found) < 2
        segments += found
        documents += [number] * len(found)
    of = np.array(documents, dtype=np.int64)
    firsts = np.flatnonzero(of[1:] == of[:-1])
    if len(set(of[firsts].tolist())) < 2:
        raise ValueError(
            f"Of {len(texts)} documents fewer than two are long enough for two segments; add text, or take pairs none."
        )
    return Segments(segments, of, firsts, alone)


def _of_document(lines: Sequence[str], tokenizer: PreTrainedTokenizerBase, room: int) -> list[Segment]:
    quiet = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    encoded = tokenizer(list(lines), split_special_tokens=True, **quiet)  # a spelt-out "[SEP]" is text
    found: list[Segment] = []
    held: list[Segment] = []
    for place, ids in enumerate(encoded["input_ids"]):
        words = [-1 if word is None else word for word in encoded.word_ids(place)]
        line = Segment(input_ids=np.array(ids, dtype=np.int64), words=np.array(words, dtype=np.int64))
        for piece in _pieces(line, room):
            if sum(len(each["input_ids"]) for each in held) + len(piece["input_ids"]) > room:
                found.append(_joined(held))
                held = []
            held.append(piece)
    return [*found, _joined(held)] if held else found


def _pieces(segment: Segment, size: int) -> list[Segment]:
    ids, words = segment["input_ids"], segment["words"]
    places = [slice(start, start + size) for start in range(0, len(ids), size)]
    return [Segment(input_ids=ids[place], words=words[place]) for place in places]


def _joined(pieces: Sequence[Segment]) -> Segment:
    words, first = [], 0
    for piece in pieces:
        real = piece["words"] >= 0
        least = piece["words"][real].min(initial=np.iinfo(np.int64).max)
        words.append(np.where(real, piece["words"] - least + first, -1))
        first = max(first, int(words[-1].max(initial=-1)) + 1)
    return Segment(input_ids=np.concatenate([piece["input_ids"] for piece in pieces]), words=np.concatenate(words))


class PairsCollate:
    """[CLS] A [SEP] B [SEP] with hidden tokens: input_ids, labels, attention_mask, token_type_ids (n, t), pair_labels
    (n,). Half of the rows, drawn from their seeds, are not what they seem, and have pair_labels 1."""

    def __init__(
        self, segments: Segments, tokenizer: PreTrainedTokenizerBase, cfg: MaskConfig, kind: Literal["nsp", "sop"]
    ) -> None:
        self.segments, self.kind = segments, kind
        self.masking = Masking(tokenizer, cfg)
        self.cls, self.sep, self.pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id

    def __call__(self, rows: Sequence[Neighbours], seeds: npt.NDArray[np.uint64]) -> dict[str, Tensor]:
        """See the class."""
        seeds = np.asarray(seeds, dtype=np.uint64)
        draws = uniform(mix(seeds ^ _PAIR), 2)
        wrong = draws[:, 0] < 0.5
        pairs = [self._pair(row, bool(w), float(u)) for row, w, u in zip(rows, wrong, draws[:, 1], strict=True)]
        longest = max(len(a["input_ids"]) + len(b["input_ids"]) for a, b in pairs) + _MARKS
        shape = (len(rows), -(-longest // 8) * 8)
        input_ids, words = np.full(shape, self.pad, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
        segments = np.zeros(shape, dtype=np.int64)  # 1 in A, 2 in B
        for place, (a, b) in enumerate(pairs):
            middle = 1 + len(a["input_ids"])
            end = middle + 1 + len(b["input_ids"])
            input_ids[place, : end + 1] = [self.cls, *a["input_ids"], self.sep, *b["input_ids"], self.sep]
            words[place, 1:middle], words[place, middle + 1 : end] = a["words"], b["words"]
            segments[place, : middle + 1], segments[place, middle + 1 : end + 1] = 1, 2
        inputs, labels = self.masking(input_ids, words, segments, seeds)
        batch = {
            "input_ids": inputs,
            "labels": labels,
            "attention_mask": (segments > 0).astype(np.int64),
            "token_type_ids": (segments == 2).astype(np.int64),
            "pair_labels": wrong.astype(np.int64),
        }
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def _pair(self, row: Neighbours, wrong: bool, u: float) -> tuple[Segment, Segment]:
        if not wrong:
            return row["first"], row["second"]
        if self.kind == "sop":
            return row["second"], row["first"]
        return row["first"], self.segments.of_another(row["document"], u)
