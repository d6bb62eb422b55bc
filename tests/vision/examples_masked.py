"""Tiny masked autoencoder, masked image model and CPC, for the contract of every task."""

import dataclasses
from collections.abc import Callable

import torch

from modalities.task import Batch, Task
from modalities.vision.backbones import ModelConfig
from modalities.vision.cpc import CPC, V1, CPCConfig
from modalities.vision.mae import MAE, MAEConfig
from modalities.vision.masked_image import MaskedImage, MaskedImageConfig
from modalities.vision.views.pipeline import ViewConfig

ROWS, SIDE = 8, 32
VIT = ModelConfig(kind="vit", width=32, depth=1, heads=2, patch_size=8, image_size=SIDE)
CONVNEXT = ModelConfig(kind="convnext", width=8, image_size=SIDE)
SMALL_CPC = CPCConfig(stride=8, nearest=1, farthest=2, width=8, context_width=8, context_depth=1)


def pictures(rows: int = ROWS, side: int = 40) -> Batch:
    """Smooth colours with some noise, so that there is something to predict, and seeds of all signs."""
    draw = torch.Generator().manual_seed(5)
    coarse = torch.rand(rows, 3, 4, 4, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    images = (smooth + 0.1 * torch.rand(smooth.shape, generator=draw)) / 1.1
    seeds = torch.randint(-(2**62), 2**62, (rows,), generator=draw)
    return {"images": (images * 255).to(torch.uint8), "seeds": seeds}


def mae(normalised: bool = True) -> MAE:
    cfg = MAEConfig(normalised_targets=normalised, decoder_width=32, decoder_depth=1, decoder_heads=2)
    return MAE(VIT, ViewConfig(side=SIDE), cfg)


def masked_image() -> MaskedImage:
    return MaskedImage(VIT, ViewConfig(side=SIDE), MaskedImageConfig(mask_size=16, masked=0.5))


def cpc(cfg: CPCConfig = SMALL_CPC) -> CPC:
    return CPC(CONVNEXT, ViewConfig(side=SIDE), cfg)


def small_v1() -> CPCConfig:
    return dataclasses.replace(V1, nearest=1, farthest=2, width=8, context_width=8, context_depth=1)


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "mae": (MAE, lambda: (mae(), pictures())),
    "mae, plain pixels": (MAE, lambda: (mae(normalised=False), pictures())),
    "masked image": (MaskedImage, lambda: (masked_image(), pictures())),
    "cpc": (CPC, lambda: (cpc(), pictures())),
    "cpc v1": (CPC, lambda: (cpc(small_v1()), pictures())),
}
