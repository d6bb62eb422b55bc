"""What all text methods share: a stock encoder with its tokenizer, and features by mean over tokens."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from modalities.task import Batch, Task
from modalities.text.backbones import mean_pooled


class TextTask(Task):
    """A method that learns from texts.

    `encoder` is the stock model that is trained, with or without a head; `tokenizer` is saved beside it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    def export(self) -> PreTrainedModel:
        """The stock model that is published, head included where downstream uses it."""
        return self.encoder

    def encode(self, batch: Batch) -> Tensor:
        """Features of texts, (n, d): batch has input_ids and attention_mask (n, t)."""
        body = self.export().base_model
        out = body(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return mean_pooled(out.last_hidden_state, batch["attention_mask"])

    def save(self, folder: Path) -> None:
        """Write `export()` and the tokenizer, for the stock class's `from_pretrained(folder)` and `AutoTokenizer`."""
        logging.disable_progress_bar()
        self.export().save_pretrained(folder)
        logging.enable_progress_bar()
        self.tokenizer.save_pretrained(folder)
