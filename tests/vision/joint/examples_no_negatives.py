"""Tiny instances of the methods without negatives, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

from modalities.task import Batch, Task
from modalities.vision.joint.barlow_twins import BarlowTwins, BarlowTwinsConfig
from modalities.vision.joint.byol import BYOL, BYOLConfig
from modalities.vision.joint.simsiam import SimSiam, SimSiamConfig
from modalities.vision.joint.vicreg import VICReg, VICRegConfig
from tests.vision.joint.files import CONVNEXT, LARGE, RESNET, TINY_VIEWS, VIT, pictures

# Weights and widths that keep gradients small: two processes are compared with one by absolute differences.
EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "byol": (BYOL, lambda: (BYOL(RESNET, LARGE, BYOLConfig(hidden=64, width=32)), pictures())),
    "byol, layer norms": (
        BYOL,
        lambda: (BYOL(CONVNEXT, LARGE, BYOLConfig(hidden=32, width=16, norm="layer")), pictures()),
    ),
    "simsiam": (SimSiam, lambda: (SimSiam(RESNET, LARGE, SimSiamConfig(64, 16)), pictures())),
    "barlow twins": (BarlowTwins, lambda: (BarlowTwins(RESNET, LARGE, BarlowTwinsConfig(0.05, 32, 4)), pictures())),
    "barlow twins, ViT": (
        BarlowTwins,
        lambda: (BarlowTwins(VIT, TINY_VIEWS, BarlowTwinsConfig(0.05, 32, 4)), pictures()),
    ),
    "vicreg": (VICReg, lambda: (VICReg(RESNET, LARGE, VICRegConfig(1.0, 1.0, 0.04, 64, 32)), pictures())),
}
