"""Tiny instances of the tasks that compare stretches of recordings, for the contract in tests/test_tasks.py."""

import math
from collections.abc import Callable

import torch

from modalities.audio.augment import AugmentConfig
from modalities.audio.cola import COLA, COLAConfig
from modalities.audio.multi_format import MultiFormat, MultiFormatConfig
from modalities.audio.spectrogram_encoder import SpectrogramConfig
from modalities.task import Batch, Task

ROWS, SAMPLES, RATE = 8, 4000, 16_000
SECONDS = SAMPLES / RATE
RESNET = SpectrogramConfig(bands=32, width=8)
AST = SpectrogramConfig("ast", bands=16, width=16, depth=1, heads=2, patch=8)
WAVEFORM = MultiFormatConfig(projection=16, conv_width=16, width=16, layers=1, heads=2)
AUGMENTS = AugmentConfig(
    crop=0.5, delay=0.5, speed=0.5, room=0.5, noise=0.5, gain=0.5, polarity=0.5, time_masks=1, band_masks=1
)


def stretches() -> Batch:
    """Two stretches of each of eight tones, of several lengths."""
    draw = torch.Generator().manual_seed(3)
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    pitches = 200 * 2 ** (4 * torch.rand(ROWS, 1, generator=draw, dtype=torch.float64))
    tones = (2 * math.pi * pitches * time).sin()  # (n, t)
    noise = 0.1 * torch.randn(ROWS, 2, SAMPLES, generator=draw, dtype=torch.float64)
    lengths = torch.randint(SAMPLES // 2, SAMPLES + 1, (ROWS, 2), generator=draw)
    audio = (tones[:, None] + noise) * (torch.arange(SAMPLES) < lengths[:, :, None])
    return {"audio": audio, "lengths": lengths, "seeds": torch.arange(ROWS) * 7919 - 20_000}


def cola(model: SpectrogramConfig) -> tuple[Task, Batch]:
    return COLA(model, AUGMENTS, COLAConfig(width=32), SECONDS, RATE), stretches()


def multi_format(model: SpectrogramConfig) -> tuple[Task, Batch]:
    return MultiFormat(model, AUGMENTS, WAVEFORM, SECONDS, RATE), stretches()


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "cola": (COLA, lambda: cola(RESNET)),
    "cola, AST": (COLA, lambda: cola(AST)),
    "multi-format": (MultiFormat, lambda: multi_format(RESNET)),
}
