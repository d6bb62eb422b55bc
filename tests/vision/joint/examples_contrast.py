"""Tiny instances of the methods with negatives in the batch, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

from modalities.task import Batch, Task
from modalities.vision.joint.simclr import SimCLR, SimCLRConfig
from tests.vision.joint.files import LARGE, RESNET, TINY_VIEWS, VIT, pictures

EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "simclr": (SimCLR, lambda: (SimCLR(RESNET, LARGE, SimCLRConfig(width=16)), pictures())),
    "simclr, ViT": (SimCLR, lambda: (SimCLR(VIT, TINY_VIEWS, SimCLRConfig(width=16)), pictures())),
}
