"""Tiny instances of the supervised bounds for sound, for the contract in tests/test_tasks.py."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from modalities.audio.backbones import ModelConfig
from modalities.audio.cpc import CPC, CPCConfig
from modalities.audio.supervised import NONE, ClipClassifier, PhoneClassifier
from modalities.audio.task import AudioTask
from modalities.audio.wav2vec2 import Wav2Vec2
from modalities.audio.wav2vec2_config import Wav2Vec2Config
from modalities.draws import as_signed, mix
from modalities.task import Batch, Task

ROWS, SAMPLES, RATE = 8, 3200, 16_000


def tones(lengths: list[int]) -> Batch:
    """A tone in noise for each row, of two pitches."""
    draw = torch.Generator().manual_seed(3)
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    pitch = torch.tensor([300.0, 1100.0], dtype=torch.float64).repeat(ROWS // 2)[:, None]
    audio = (2 * math.pi * pitch * time).sin() + 0.1 * torch.randn(ROWS, SAMPLES, generator=draw, dtype=torch.float64)
    real = torch.tensor(lengths)
    seeds = as_signed(mix(np.arange(ROWS, dtype=np.uint64)))
    return {"audio": audio * (torch.arange(SAMPLES) < real[:, None]), "lengths": real, "seeds": seeds,
            "speakers": torch.full((ROWS,), -1)}  # fmt: skip


def cpc() -> AudioTask:
    return CPC(CPCConfig(first_width=16, width=16, context_width=16, steps=2))


def wav2vec2() -> AudioTask:
    return Wav2Vec2(ModelConfig(conv_width=16, width=16, layers=1, heads=2, feed_forward=32, position_frames=4),
                    Wav2Vec2Config())  # fmt: skip


def labels(frames: int) -> Tensor:
    """Of the pitch, in every other frame; as many known ones in either half of the rows."""
    found = torch.arange(ROWS)[:, None] % 2 * torch.ones(frames, dtype=torch.long)
    found[:, ::2] = NONE
    return found


def phones(encoder: AudioTask) -> tuple[Task, Batch]:
    return PhoneClassifier(encoder, 3), tones([SAMPLES] * ROWS) | {"labels": labels(20)}


def clips(encoder: AudioTask) -> tuple[Task, Batch]:
    lengths = [SAMPLES, 2000] * (ROWS // 2)
    return ClipClassifier(encoder, 2), tones(lengths) | {"labels": torch.arange(ROWS) % 2}


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "phones, supervised": (PhoneClassifier, lambda: phones(cpc())),
    "phones, supervised, wav2vec 2.0": (PhoneClassifier, lambda: phones(wav2vec2())),
    "clips, supervised": (ClipClassifier, lambda: clips(cpc())),
}
