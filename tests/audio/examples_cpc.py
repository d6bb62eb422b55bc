"""Tiny instances of contrastive predictive coding, for the contract in tests/test_tasks.py."""

from collections.abc import Callable
from typing import Any

import torch

from modalities.audio.cpc import CPC, CPCConfig
from modalities.task import Batch, Task

ROWS, SAMPLES = 8, 3200


def sounds() -> Batch:
    """Tones that glide, each its own way, by four speakers; two recordings are shorter, one in each half."""
    draw = torch.Generator().manual_seed(3)
    time = torch.linspace(0, 1, SAMPLES, dtype=torch.float64)
    glide = 40 + 400 * torch.rand(ROWS, 1, generator=draw, dtype=torch.float64)
    audio = torch.sin(glide * (time + 2 * time.square()))
    audio += 0.05 * torch.randn(ROWS, SAMPLES, generator=draw, dtype=torch.float64)
    lengths = torch.full((ROWS,), SAMPLES)
    lengths[1] = lengths[6] = 1999
    audio = audio.masked_fill(torch.arange(SAMPLES) >= lengths[:, None], 0.0)
    return {
        "audio": audio,
        "lengths": lengths,
        "speakers": torch.tensor([0, 1, 2, 0, 1, 2, 0, -1]),
        "seeds": torch.arange(ROWS) * 7919 - 20_000,
    }


def cpc(**options: Any) -> tuple[Task, Batch]:
    """Four steps ahead in windows of 20 frames."""
    tiny = CPCConfig(first_width=16, width=16, context_width=16, heads=2, steps=4)
    return CPC(CPCConfig(**{**vars(tiny), **options})), sounds()


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "cpc of sounds": (CPC, cpc),
    "cpc of sounds, drawn": (CPC, lambda: cpc(drawn=8)),
    "cpc of sounds, same speaker": (CPC, lambda: cpc(negatives="speaker")),
    "cpc of sounds, drawn of the same speaker": (CPC, lambda: cpc(negatives="speaker", drawn=16)),
    "cpc of sounds, drawn of the whole batch, transformer": (
        CPC,
        lambda: cpc(negatives="batch", drawn=16, context="transformer"),
    ),
}
