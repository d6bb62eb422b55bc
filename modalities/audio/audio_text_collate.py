"""Rows to tensors: one stretch of every recording, one of its descriptions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import ClapProcessor

from modalities.audio.collate import WindowCollate
from modalities.audio.rows import Row
from modalities.cells import identity
from modalities.draws import uniform_on_device


class SoundTextCollate:
    """Makes a batch of sounds and descriptions; `collate(rows, seeds)` in training, `collate(rows)` in evaluation.

    With seeds each row's stretch and description are drawn from its own seed; without, they are the middle and the
    first. Descriptions are cut and padded to `max_length` tokens always: one process and two then see the same batch.
    The ids say of each recording what it is, by its first description, and which description was drawn.
    """

    def __init__(self, processor: ClapProcessor, max_length: int, max_bad: float = 0.01) -> None:
        extractor = processor.feature_extractor
        self.window = WindowCollate(extractor.nb_max_samples, extractor.sampling_rate, max_bad=max_bad)
        self.tokenizer = processor.tokenizer
        self.max_length = max_length

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """As `WindowCollate`, with input_ids and attention_mask (n, max_length) and ids (n, 2), all int64.

        Raises:
            ValueError: for a recording without a description.
        """
        batch, rows = self.window.with_rows(rows, seeds)
        for row in rows:
            if not row["texts"]:
                raise ValueError(
                    f"Recording {row['id']} has no description: set data.text_column, or leave its row out."
                )
        chosen = [0] * len(rows)
        if seeds is not None:
            drawn = uniform_on_device(batch["seeds"], 1, _STREAM)[:, 0].tolist()  # (n,)
            chosen = [int(draw * len(row["texts"])) for row, draw in zip(rows, drawn, strict=True)]
        texts = [row["texts"][place] for row, place in zip(rows, chosen, strict=True)]
        ids = [[description_id(row["texts"]), description_id([text])] for row, text in zip(rows, texts, strict=True)]
        return batch | self.text(texts) | {"ids": torch.tensor(ids)}

    def text(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """input_ids and attention_mask, (n, max_length) int64. Also for prompts and all descriptions of a test set."""
        encoded = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.max_length, return_attention_mask=True
        )
        return {name: torch.tensor(encoded[name]) for name in ("input_ids", "attention_mask")}


_STREAM = 71  # of the draws that choose a description


def description_id(texts: Sequence[str]) -> int:
    """The same number, int64, for recordings with the same first description."""
    return identity(texts[0].strip().lower().encode())
