"""Tiny instances of MoCo in its three versions and of MoCHi, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

import torch

from modalities.task import Batch, Task
from modalities.vision.backbones import ModelConfig
from modalities.vision.joint.moco import MoCo, MoCoConfig
from modalities.vision.joint.moco_v3 import MoCoV3, MoCoV3Config
from modalities.vision.joint.views import JointViews
from tests.vision.joint.files import LARGE, RESNET, TINY_VIEWS, VIT, pictures


def moco(cfg: MoCoConfig, model: ModelConfig = RESNET, views: JointViews = LARGE) -> tuple[Task, Batch]:
    """With keys of earlier steps, one of a picture of the batch: without any the loss of the first step is 0."""
    task, batch = MoCo(model, views, cfg).double(), pictures()  # or two processes would not begin alike
    for turn in range(2):
        earlier = batch | {"images": batch["images"].roll(1 + turn, 1) // 2, "index": torch.arange(8) + 9}
        task.past.push(task.embed(earlier)[1][:, 0].detach(), earlier["index"])
    return task, batch


def small(**options: object) -> MoCoConfig:
    return MoCoConfig(queue=24, width=16, momentum=0.9, hardest=6, **options)  # type: ignore[arg-type]


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "moco": (MoCo, lambda: moco(small())),
    "moco, v1": (MoCo, lambda: moco(small(hidden=False))),
    "moco, symmetric, batch norm in groups": (MoCo, lambda: moco(small(symmetric=True, bn_groups=2))),
    "moco, mixed negatives": (MoCo, lambda: moco(small(mixed=5, mixed_with_query=3))),
    "moco, ViT": (MoCo, lambda: moco(small(), VIT, TINY_VIEWS)),
    "moco v3": (MoCoV3, lambda: (MoCoV3(RESNET, LARGE, MoCoV3Config(hidden=16, width=16)), pictures())),
    "moco v3, ViT": (MoCoV3, lambda: (MoCoV3(VIT, TINY_VIEWS, MoCoV3Config(hidden=16, width=16)), pictures())),
}
WITHOUT_GRADIENT_ACROSS: set[str] = set(EXAMPLES)  # keys carry none, and negatives are keys
