"""Tiny CLAP towers with recordings and descriptions, for the contract of every task."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from transformers import ClapProcessor

from modalities.audio.audio_text import AudioText
from modalities.audio.audio_text_towers import ModelConfig, build_processor, build_towers
from modalities.audio.augment import AugmentConfig
from modalities.draws import as_signed, mix
from modalities.task import Batch, Task

RATE, ROWS, SAMPLES = 2000, 8, 2000
DESCRIPTIONS = ["a low hum", "birds", "rain on a roof", "a high hum", "a drum", "birds", "two voices", "a bell"]
TINY = ModelConfig(
    bands=32,
    hop=64,
    window=256,
    patch=4,
    audio_width=16,
    audio_stages=2,
    audio_blocks=2,
    audio_window=4,
    text_width=16,
    text_layers=1,
    text_length=8,
    vocabulary=120,
    projection=16,
    dropout=0.0,
)


@cache
def processor() -> ClapProcessor:
    return build_processor(TINY, RATE, DESCRIPTIONS)


def recordings() -> Batch:
    """Two tones each, fading at another speed, some shorter than the rest."""
    draw = torch.Generator().manual_seed(3)
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    pitches, decay = torch.rand(2, ROWS, 1, generator=draw, dtype=torch.float64), torch.arange(ROWS)[:, None]
    audio = 0.3 * ((600 + 3000 * pitches[0]) * time).sin() + 0.2 * ((3000 + 2500 * pitches[1]) * time).cos()
    audio = audio * (-decay * time).exp() + 0.02 * torch.randn(ROWS, SAMPLES, generator=draw, dtype=torch.float64)
    lengths = torch.full((ROWS,), SAMPLES)
    lengths[1], lengths[6] = 700, 1500
    audio = audio * (torch.arange(SAMPLES) < lengths[:, None])
    seeds = as_signed(mix(np.arange(ROWS, dtype=np.uint64)))
    return {"audio": audio, "lengths": lengths, "seeds": seeds, "speakers": torch.full((ROWS,), -1)}


def tiny() -> tuple[Task, Batch]:
    made = processor()
    tokens = made.tokenizer(DESCRIPTIONS, padding="max_length", max_length=TINY.text_length, return_tensors="pt")
    batch = recordings() | {name: tokens[name] for name in ("input_ids", "attention_mask")}
    own, drawn = [0, 1, 2, 3, 4, 1, 6, 7], [0, 1, 2, 10, 10, 1, 6, 7]  # two pairs have a description in common
    batch["ids"] = torch.tensor([own, drawn]).T
    views = AugmentConfig(gain=0.5, noise=0.5, polarity=0.5, time_masks=1, band_masks=1)
    return AudioText(build_towers(TINY, made), made, views), batch


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {"audio-text": (AudioText, tiny)}
