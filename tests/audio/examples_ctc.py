"""Tiny CTC tasks on new and on pretrained encoders, and tones with texts, for the contract of every task."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2CTCTokenizer

from modalities.audio.backbones import ModelConfig, build_model
from modalities.audio.ctc import CTC, CTCConfig
from modalities.audio.transcripts import build_tokenizer
from modalities.draws import as_signed, mix
from modalities.task import Batch, Task
from objectives.predictive import IGNORE

ROWS, SAMPLES, RATE = 8, 4400, 16_000
# As many characters in either half: only `fit` makes the mean over all processes of batches that have more or fewer.
TEXTS = ["abba", "cab", "a b", "back", "cab", "abc c", "bc", "a ca"]
MASKS = CTCConfig(masked=0.2, span=2)


def shape(norm: Literal["group", "layer"] = "layer", start_from: str = "") -> ModelConfig:
    return ModelConfig(norm, 16, width=16, layers=1, heads=2, feed_forward=32, position_frames=4, start_from=start_from)


def tokenizer() -> Wav2Vec2CTCTokenizer:
    return build_tokenizer(TEXTS)


def utterances() -> Batch:
    """Tones of several lengths, with their texts."""
    draw = torch.Generator().manual_seed(3)
    lengths = SAMPLES - 160 * torch.randint(0, 5, (ROWS,), generator=draw)
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    tones = (2 * math.pi * (300 + 900 * torch.rand(ROWS, 1, generator=draw, dtype=torch.float64)) * time).sin()
    audio = tones + 0.1 * torch.randn(ROWS, SAMPLES, generator=draw, dtype=torch.float64)
    labels = torch.full((ROWS, max(map(len, TEXTS))), IGNORE)
    for row, text in enumerate(TEXTS):
        labels[row, : len(text)] = torch.tensor(tokenizer()(text).input_ids)
    seeds = as_signed(mix(np.arange(ROWS, dtype=np.uint64)))
    return {"audio": audio * (torch.arange(SAMPLES) < lengths[:, None]), "lengths": lengths, "labels": labels,
            "seeds": seeds}  # fmt: skip


def new(norm: Literal["group", "layer"] = "layer") -> tuple[Task, Batch]:
    return CTC(shape(norm), tokenizer(), RATE, MASKS), utterances()


def pretrained(kind: Literal["wav2vec2", "hubert"] = "hubert") -> tuple[Task, Batch]:
    """On a checkpoint, its convolutions frozen."""
    with tempfile.TemporaryDirectory() as folder:
        # By hand, for save_pretrained writes in the first of several processes only.
        model = build_model(shape(), kind)
        model.config.to_json_file(Path(folder) / "config.json")
        save_file(model.state_dict(), Path(folder) / "model.safetensors", {"format": "pt"})
        return CTC(shape(start_from=folder), tokenizer(), RATE, MASKS), utterances()


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "ctc": (CTC, new),
    "ctc, group norm": (CTC, lambda: new("group")),
    "ctc, on hubert": (CTC, pretrained),
}
