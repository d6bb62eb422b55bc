"""Whole runs of `fit` on tiny pictures, in the test's own process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modalities.draws import as_signed
from modalities.task import Batch
from trainers.config import TrainConfig
from trainers.loop import fit

PICTURES = 64


class Killed(Exception):
    """What ends a run in the middle of a step."""


def images(side: int = 24) -> Tensor:
    """As many pictures of smooth colours, uint8 (64, 3, side, side)."""
    noise = torch.rand(PICTURES, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return (nn.functional.interpolate(noise, size=side, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def train(task: nn.Module, out: Path, kill_at: int = 0, places: int = PICTURES, **options: Any) -> dict[str, Tensor]:
    """Train and return all state. places: of a memory, which pictures share where there are fewer than pictures.

    Raises:
        Killed: when the batch of step `kill_at` (from 1) is to be made.
    """
    made, shown = 0, images()

    def collate(rows: Sequence[dict[str, int]], seeds: np.ndarray) -> Batch:
        nonlocal made
        made += 1
        if made == kill_at:
            raise Killed
        index = torch.tensor([row["id"] for row in rows])
        labels = index % 4 - 1
        return {"images": shown[index], "seeds": as_signed(seeds), "index": index % places, "labels": labels}

    settings = {"batch_size": 8, "steps": 6, "lr": 1e-3, "log_every": 1, "save_every": 1, "tracker": "none"}
    data = [{"id": row} for row in range(PICTURES)]
    trained = fit(task, data, collate, TrainConfig(out=out, **(settings | options)))
    return {name: value.clone() for name, value in trained.state_dict().items()}


def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """The largest difference of any number of two states."""
    assert left.keys() == right.keys() and left
    return max(float((left[name].double() - right[name].double()).abs().max()) for name in left)
