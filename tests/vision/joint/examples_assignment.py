"""Tiny instances of the methods of balanced assignment, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

from modalities.task import Batch, Task
from modalities.vision.joint.sela import SeLa, SeLaConfig
from modalities.vision.joint.swav import SwAV, SwAVConfig
from tests.vision.joint.files import LARGE, MULTI, RESNET, TINY_VIEWS, VIT, pictures

EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "swav": (SwAV, lambda: (SwAV(RESNET, MULTI, SwAVConfig(prototypes=6, width=16)), pictures())),
    "swav with queues, ViT": (
        SwAV,
        lambda: (SwAV(VIT, TINY_VIEWS, SwAVConfig(prototypes=6, width=16, queue=16, queue_from=0)), pictures()),
    ),
    "sela": (SeLa, lambda: (SeLa(RESNET, LARGE, SeLaConfig(clusters=4, heads=2, times=3, rows=10)), pictures())),
}
WITHOUT_GRADIENT_ACROSS = set(EXAMPLES)
