"""Pictures that hold nothing but a shortcut, and a short training that shows whether a task can take it."""

from collections.abc import Callable

import torch
from torch import Tensor

from modalities.task import Batch
from modalities.vision.task import VisionTask
from modalities.vision.views.pipeline import ViewConfig

WHOLE = ViewConfig(side=32, min_area=1.0, flip=0.0)
"""The picture itself, pixel by pixel, where it is 32 x 32."""

Pictures = Callable[[int, torch.Generator], Tensor]
"""(n, generator) -> (n, 3, 32, 32) in [0, 1]."""


def noise(n: int, draw: torch.Generator) -> Tensor:
    """Grey noise that knows no place and no direction, (n, 3, 32, 32) around 1/2."""
    return 0.5 + 0.1 * torch.randn(n, 1, 32, 32, generator=draw).expand(n, 3, 32, 32)


def outlined(n: int, draw: torch.Generator) -> Tensor:
    """Noise with a bright frame, 4 pixels wide, around the middle 8 x 8 pixels. Tiles of 8 that touch hold parts of it,
    other parts in other places; between tiles that are 4 pixels apart it is not seen at all."""
    frame = torch.zeros(32, 32)
    frame[8:24, 8:24] = 0.4
    frame[12:20, 12:20] = 0
    return noise(n, draw) + frame


def learned(task: VisionTask, pictures: Pictures, steps: int, lr: float = 3e-3, rows: int = 8) -> float:
    """Train on fresh pictures at every step; the accuracy on 64 more of them."""
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(task.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        task(batch_of(pictures, rows, draw))["loss"].backward()
        optimizer.step()
    with torch.no_grad():  # in training mode: so few steps leave the running statistics of batch norms behind
        return float(task(batch_of(pictures, 64, draw))["accuracy"])


def batch_of(pictures: Pictures, n: int, draw: torch.Generator) -> Batch:
    images = (pictures(n, draw) * 255).round().clamp(0, 255).to(torch.uint8)
    return {"images": images, "seeds": torch.randint(2**62, (n,), generator=draw)}
