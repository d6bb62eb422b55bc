"""Tiny instances of the tasks that predict relations, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

import torch
from torch import Tensor

from modalities.task import Batch, Task
from modalities.vision.backbones import ModelConfig
from modalities.vision.counting import Counting, CountingConfig
from modalities.vision.exemplar import Exemplar, ExemplarConfig
from modalities.vision.jigsaw import Jigsaw, JigsawConfig
from modalities.vision.relative_patch import RelativePatch, RelativePatchConfig
from modalities.vision.rotation import Rotation, RotationConfig
from modalities.vision.views.pipeline import ViewConfig

ROWS = 8
TINY = ModelConfig(width=8, image_size=32)
TINY_VIT = ModelConfig(kind="vit", width=16, depth=1, heads=2, patch_size=4, image_size=16)
VIEWS = ViewConfig(side=32)
# On tiles below 17 pixels a ResNet's last stride meets maps of one place, where torch 2.13 gets the gradient of a
# convolution in bf16 on a CPU wrong.
LARGE = ViewConfig(side=64)
TILES = {"tile": 18, "gap": 2, "jitter": 1}


def images(side: int = 40) -> Tensor:
    """Smooth colour noise, uint8 (8, 3, side, side)."""
    noise = torch.rand(ROWS, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return (torch.nn.functional.interpolate(noise, size=side, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def batch() -> Batch:
    """Eight pictures and their seeds."""
    return {"images": images(), "seeds": torch.arange(ROWS) * 7919 - 20_000}


def exemplar() -> tuple[Task, Batch]:
    return Exemplar(TINY, VIEWS, ExemplarConfig(classes=ROWS + 2)), batch() | {"index": torch.arange(ROWS) + 1}


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "rotation": (Rotation, lambda: (Rotation(TINY, VIEWS, RotationConfig()), batch())),
    "rotation, ViT": (Rotation, lambda: (Rotation(TINY_VIT, ViewConfig(side=16), RotationConfig(2)), batch())),
    "relative patch": (
        RelativePatch,
        lambda: (RelativePatch(TINY, LARGE, RelativePatchConfig(**TILES, hidden=32)), batch()),
    ),
    "relative patch, one channel": (
        RelativePatch,
        lambda: (RelativePatch(TINY, LARGE, RelativePatchConfig(**TILES, hidden=32, colour="drop")), batch()),
    ),
    "jigsaw": (
        Jigsaw,
        lambda: (Jigsaw(TINY, LARGE, JigsawConfig(**TILES, permutations=8, hidden=32)), batch()),
    ),
    "counting": (Counting, lambda: (Counting(TINY, LARGE, CountingConfig(counts=16)), batch())),
    "exemplar": (Exemplar, exemplar),
}
