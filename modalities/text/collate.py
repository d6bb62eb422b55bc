"""Rows of texts to tensors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from modalities.draws import as_signed
from modalities.text.rows import Row


class TextsCollate:
    """Tokenizes every text of every row: input_ids and attention_mask long (n, v, t) for v texts a row, padded to the
    longest of the batch and cut at `length`; ids long (n,); seeds int64 (n,) in training; with `labels` also labels
    long (n,), with `scores` scores float (n,)."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, length: int, labels: bool = False, scores: bool = False
    ) -> None:
        self.tokenizer, self.length, self.labels, self.scores = tokenizer, length, labels, scores

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """See the class."""
        texts = [text for row in rows for text in row["texts"]]
        batch = self.tokens(texts)
        batch = {name: tensor.view(len(rows), -1, tensor.shape[1]) for name, tensor in batch.items()}
        batch["ids"] = torch.tensor([row["id"] for row in rows], dtype=torch.long)
        if seeds is not None:
            batch["seeds"] = as_signed(np.asarray(seeds, dtype=np.uint64))
        if self.labels:
            batch["labels"] = torch.tensor([row["label"] for row in rows], dtype=torch.long)
        if self.scores:
            batch["scores"] = torch.tensor([row["score"] for row in rows], dtype=torch.float32)
        return batch

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """input_ids and attention_mask, (n, t) long."""
        found = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.length)
        return {
            name: torch.from_numpy(np.array(found[name], dtype=np.int64)) for name in ("input_ids", "attention_mask")
        }
