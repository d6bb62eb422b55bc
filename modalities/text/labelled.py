"""Texts with answers to tensors, as stock models with a head read them: a text or a pair, or words of a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.text.rows import Row
from modalities.text.word_offsets import joined, words_of_tokens
from objectives.predictive import IGNORE


class PairCollate:
    """Rows of one text, or of two that are read as one: input_ids and attention_mask long (n, t), padded to the longest
    of the batch, the longer text of a pair being cut first; token_type_ids (n, t) of pairs where the model knows them;
    labels (n,), the class of a row or its score."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length
        self.types = getattr(model.config, "type_vocab_size", 0) > 1

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """See the class. There is nothing random in it, so seeds are not used."""
        batch = self.tokens([row["texts"] for row in rows])
        if rows[0]["label"] is not None:
            batch["labels"] = torch.tensor([row["label"] for row in rows], dtype=torch.long)
        elif rows[0]["score"] is not None:
            batch["labels"] = torch.tensor([row["score"] for row in rows], dtype=torch.float32)
        return batch

    def tokens(self, texts: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """Everything but the labels."""
        first, *second = ([text[place] for text in texts] for place in range(len(texts[0])))
        assert len(second) <= 1, "a head reads one text or two"
        found = self.tokenizer(
            first,
            second[0] if second else None,
            padding=True,
            truncation=True,
            max_length=self.length,
            return_token_type_ids=self.types and bool(second),
        )
        return {name: torch.from_numpy(np.array(found[name], dtype=np.int64)) for name in found}


class Tagged(TypedDict):
    """Words of a text, and the class of each; -100 where none is asked for."""

    words: list[str]
    labels: list[int]


@dataclass(frozen=True)
class TaggedTexts:
    """An indexable set of texts whose words have classes."""

    words: list[list[str]]
    labels: list[list[int]]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> Tagged:
        return Tagged(words=self.words[index], labels=self.labels[index])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Characters of each text, (n,)."""
        return np.array([sum(map(len, words)) for words in self.words], dtype=np.int64)


class TaggedCollate:
    """input_ids and attention_mask long (n, t), cut at `length`; labels (n, t): a word's class at its first token, -100
    elsewhere."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length

    def __call__(self, rows: Sequence[Tagged], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """See the class. There is nothing random in it, so seeds are not used."""
        options: dict[str, Any] = {"padding": True, "truncation": True, "max_length": self.length}
        found = self.tokenizer([joined(row["words"]) for row in rows], return_offsets_mapping=True, **options)
        batch = {name: torch.tensor(found[name]) for name in ("input_ids", "attention_mask")}
        labels = np.full(batch["input_ids"].shape, IGNORE, dtype=np.int64)
        for place, (row, offsets) in enumerate(zip(rows, found["offset_mapping"], strict=True)):
            words = words_of_tokens(row["words"], offsets)
            real = np.flatnonzero(words >= 0)
            known, first = np.unique(words[real], return_index=True)
            labels[place, real[first]] = np.array(row["labels"])[known]
        return {**batch, "labels": torch.from_numpy(labels)}
