"""Tiny wav2vec 2.0 models of both norms, and recordings of several lengths, for the contract of every task."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from modalities.audio.backbones import ModelConfig
from modalities.audio.wav2vec2 import Wav2Vec2
from modalities.audio.wav2vec2_config import Wav2Vec2Config
from modalities.draws import as_signed, mix
from modalities.task import Batch, Task

ROWS, SAMPLES = 8, 6000
TINY = Wav2Vec2Config(
    start=0.15, span=3, negatives=8, codes=8, code_width=16, target_width=16, diversity=1.0, tau_decay=0.97
)


def shape(norm: Literal["group", "layer"] = "layer") -> ModelConfig:
    return ModelConfig(norm=norm, conv_width=16, width=16, layers=1, heads=2, feed_forward=32, position_frames=4)


def recordings(rows: int = ROWS, samples: int = SAMPLES) -> Batch:
    """Tones that change in pitch, over noise, the second and last shorter than the rest."""
    draw = torch.Generator().manual_seed(3)
    time = torch.arange(samples, dtype=torch.float64) / 16_000
    start, slope = torch.rand(2, rows, 1, generator=draw, dtype=torch.float64)
    tones = (2 * math.pi * (200 + 600 * start + 8000 * (slope - 0.5) * time) * time).sin()
    lengths = torch.full((rows,), samples)
    lengths[1] = lengths[-1] = samples * 3 // 4
    audio = 0.3 * tones + 0.1 * torch.randn(rows, samples, generator=draw, dtype=torch.float64)
    audio = audio * (torch.arange(samples) < lengths[:, None])
    seeds = as_signed(mix(np.arange(rows, dtype=np.uint64)))
    return {"audio": audio, "lengths": lengths, "seeds": seeds, "speakers": torch.arange(rows) % 2}


def tiny(norm: Literal["group", "layer"]) -> tuple[Task, Batch]:
    return Wav2Vec2(shape(norm), TINY), recordings()


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "wav2vec2, base": (Wav2Vec2, lambda: tiny("group")),
    "wav2vec2, large": (Wav2Vec2, lambda: tiny("layer")),
}
