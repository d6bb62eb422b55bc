"""Tiny instances of the methods with negatives in the batch and with few labels, for the contract in
tests/test_tasks.py."""

from collections.abc import Callable
from dataclasses import replace

import torch

from modalities.task import Batch, Task
from modalities.vision.joint.nnclr import NNCLR, NNCLRConfig
from modalities.vision.joint.s4l import S4L, S4LConfig
from modalities.vision.joint.simclr import SimCLR, SimCLRConfig
from modalities.vision.joint.sup_con import SupCon, SupConConfig
from modalities.vision.joint.uda import UDA, UDAConfig
from modalities.vision.joint.views import JointViews
from tests.vision.joint.files import LARGE, RESNET, TINY_VIEWS, VIT, pictures

STRONG = JointViews(TINY_VIEWS.first, replace(TINY_VIEWS.first, policy_ops=2))


def some_labels() -> Batch:
    """Eight pictures of three classes; half have a label, three of them in the first four rows."""
    return {**pictures(), "labels": torch.tensor([0, -1, 1, 2, -1, 1, -1, -1])}


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "simclr": (SimCLR, lambda: (SimCLR(RESNET, LARGE, SimCLRConfig(width=16)), pictures())),
    "simclr, ViT": (SimCLR, lambda: (SimCLR(VIT, TINY_VIEWS, SimCLRConfig(width=16)), pictures())),
    "simclr, deep head, hard negatives": (
        SimCLR,
        lambda: (SimCLR(VIT, TINY_VIEWS, SimCLRConfig(width=16, layers=3, hardness=0.5, prior=0.05)), pictures()),
    ),
    "sup_con": (SupCon, lambda: (SupCon(VIT, TINY_VIEWS, SupConConfig(width=16)), some_labels())),
    "nnclr": (NNCLR, lambda: (NNCLR(VIT, TINY_VIEWS, NNCLRConfig(width=16, queue=24)), pictures())),
    "s4l": (S4L, lambda: (S4L(VIT, TINY_VIEWS, S4LConfig(classes=3)), some_labels())),
    "uda": (UDA, lambda: (UDA(VIT, STRONG, UDAConfig(classes=3, confidence=0.2)), some_labels())),
}
# What goes between processes is how many rows have a label: a number without gradient.
WITHOUT_GRADIENT_ACROSS: set[str] = {"s4l", "uda"}
