"""Tiny instances of the methods whose views are of other kinds than crops, for the contract in tests/test_tasks.py."""

from collections.abc import Callable
from dataclasses import replace

from modalities.task import Batch, Task
from modalities.vision.joint.amdim import AMDIM, AMDIMConfig
from modalities.vision.joint.cmc import CMC, CMCConfig
from modalities.vision.joint.dense import Dense, DenseConfig
from modalities.vision.joint.pirl import PIRL, PIRLConfig
from modalities.vision.joint.views import JointViews
from tests.vision.joint.files import CONVNEXT, LARGE, MILD, RESNET, TINY_VIEWS, VIT, pictures

COLOURFUL = JointViews(*(replace(MILD, side=64, grey=0.0) for _ in range(3)))  # type: ignore[arg-type]
TILED = JointViews(*(replace(MILD, side=120) for _ in range(3)))  # type: ignore[arg-type]
DENSE = DenseConfig(cell=8, width=8, hidden=8, matches=16, others=32, near=8.0)
SMALL_TILES = PIRLConfig(rows=10, width=16, tile=4, gap=1, jitter=1)

EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "cmc": (CMC, lambda: (CMC(RESNET, COLOURFUL, CMCConfig(0.3, 16)), pictures())),
    "cmc, two crops": (CMC, lambda: (CMC(RESNET, COLOURFUL, CMCConfig(0.3, 16, same_crop=False)), pictures())),
    "amdim": (AMDIM, lambda: (AMDIM(RESNET, LARGE, AMDIMConfig(width=16)), pictures())),
    "amdim, ConvNeXt": (AMDIM, lambda: (AMDIM(CONVNEXT, LARGE, AMDIMConfig(width=16)), pictures())),
    "pirl": (PIRL, lambda: (PIRL(RESNET, TILED, PIRLConfig(rows=10, width=16, tile=36, gap=1, jitter=1)), pictures())),
    "pirl, ViT": (PIRL, lambda: (PIRL(VIT, TINY_VIEWS, SMALL_TILES), pictures())),
    "dense": (Dense, lambda: (Dense(RESNET, LARGE, DENSE), pictures())),
    "dense, info-nce": (Dense, lambda: (Dense(RESNET, LARGE, replace(DENSE, form="info-nce")), pictures())),
    "dense, ViT": (Dense, lambda: (Dense(VIT, TINY_VIEWS, replace(DENSE, cell=4, near=4.0, matches=8)), pictures())),
}
WITHOUT_GRADIENT_ACROSS: set[str] = {"pirl", "pirl, ViT"}
