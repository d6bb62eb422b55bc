"""A tiny instance of the supervised bound for images, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

import torch

from modalities.task import Batch, Task
from modalities.vision.backbones import ModelConfig, build_encoder
from modalities.vision.supervised import Classifier
from modalities.vision.views.pipeline import ViewConfig

ROWS = 8


def classifier(model: ModelConfig) -> tuple[Task, Batch]:
    """A new encoder with a classifier of three classes, and a batch for it."""
    noise = torch.rand(ROWS, 3, 40, 40, generator=torch.Generator().manual_seed(3))
    batch = {
        "images": (noise * 255).to(torch.uint8),
        "seeds": torch.arange(ROWS) * 7919 - 20_000,
        "labels": torch.arange(ROWS) % 3,
    }
    return Classifier(build_encoder(model), ViewConfig(side=model.image_size), ["ant", "bee", "cat"]), batch


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "classifier": (Classifier, lambda: classifier(ModelConfig(width=8, image_size=32))),
    "classifier, ViT": (
        Classifier,
        lambda: classifier(ModelConfig(kind="vit", width=16, depth=1, heads=2, patch_size=4, image_size=16)),
    ),
    "classifier, ConvNeXt": (Classifier, lambda: classifier(ModelConfig(kind="convnext", width=8, image_size=32))),
}
