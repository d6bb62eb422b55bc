"""Tiny instances of the tasks that predict colours, for the contract of all tasks."""

from collections.abc import Callable

import torch

from modalities.task import Batch, Task
from modalities.vision.backbones import ModelConfig
from modalities.vision.colorization import Colorization, ColorizationConfig
from modalities.vision.split_brain import SplitBrain, SplitBrainConfig
from modalities.vision.views.pipeline import ViewConfig

ROWS = 8
TINY = ModelConfig(width=8, image_size=32)
TINY_VIT = ModelConfig(kind="vit", width=8, heads=2, image_size=32)
VIEWS = ViewConfig(side=32)


def pictures() -> Batch:
    """Light and shade on orange and on blue, so that few colours are to be told apart."""
    draw = torch.Generator().manual_seed(3)
    shade = torch.rand(ROWS, 1, 4, 4, generator=draw)
    tint = torch.tensor([[1.0, 0.6, 0.2], [0.3, 0.5, 1.0]]).repeat(ROWS // 2, 1)[:, :, None, None]
    images = torch.nn.functional.interpolate((0.4 + 0.6 * shade) * tint, size=(40, 40), mode="bilinear")
    return {"images": (images * 255).byte(), "seeds": torch.arange(ROWS) * 7919}


def colorization(cfg: ColorizationConfig, model: ModelConfig = TINY) -> tuple[Task, Batch]:
    task, batch = Colorization(model, VIEWS, cfg), pictures()
    task.prepare(batch["images"])
    return task, batch


def split_brain() -> tuple[Task, Batch]:
    return SplitBrain(TINY, VIEWS, SplitBrainConfig()), pictures()


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "colorization": (Colorization, lambda: colorization(ColorizationConfig())),
    "colorization, regression": (Colorization, lambda: colorization(ColorizationConfig("regression"))),
    "colorization, vit": (Colorization, lambda: colorization(ColorizationConfig(), TINY_VIT)),
    "split-brain": (SplitBrain, split_brain),
}
