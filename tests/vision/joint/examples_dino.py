"""Tiny instances of DINO, for the contract in tests/test_tasks.py."""

from collections.abc import Callable
from dataclasses import replace

from modalities.task import Batch, Task
from modalities.vision.joint.dino import DINO, DINOConfig
from tests.vision.joint.files import MULTI, RESNET, TINY_VIEWS, VIT, pictures

# A centre that hardly moves in thirty steps, so that they lower the loss: at first all pictures have the same answer,
# which a centre takes away from them, and the loss rises.
SMALL = DINOConfig(answers=64, hidden=16, bottleneck=32, momentum=0.9, centre_momentum=0.99)
TINY_MULTI = replace(TINY_VIEWS, small_count=2)

EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "dino": (DINO, lambda: (DINO(VIT, TINY_MULTI, SMALL), pictures())),
    "dino, ResNet": (DINO, lambda: (DINO(RESNET, MULTI, SMALL), pictures())),
    "dino, without small views": (DINO, lambda: (DINO(VIT, TINY_VIEWS, SMALL), pictures())),
}
WITHOUT_GRADIENT_ACROSS = set(EXAMPLES)
"""What other processes' rows change is the centre of the next step, through which no gradient flows."""
