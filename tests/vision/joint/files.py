"""Tiny encoders, views and batches for the tests of joint-embedding methods."""

from dataclasses import replace

import torch

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig
from modalities.vision.joint.views import JointViews
from modalities.vision.views.pipeline import ViewConfig

ROWS = 8
RESNET = ModelConfig(width=8, image_size=32)
VIT = ModelConfig(kind="vit", width=16, depth=1, heads=2, patch_size=4, image_size=16)
CONVNEXT = ModelConfig(kind="convnext", width=8, image_size=32)
MILD = ViewConfig(side=32, jitter=0.8, grey=0.2)
VIEWS = JointViews(MILD, MILD, replace(MILD, side=16))
# On maps of one place torch 2.13 gets the gradient of a convolution in bf16 on a CPU wrong: ResNets want 33 pixels or
# more, or a contract under bf16 fails.
LARGE = JointViews(*(replace(MILD, side=side) for side in (64, 64, 40)))  # type: ignore[arg-type]
MULTI = replace(LARGE, small_count=2)
TINY_VIEWS = JointViews(*(replace(MILD, side=side) for side in (16, 16, 8)))  # type: ignore[arg-type]


def pictures(side: int = 40, labels: int = 0) -> Batch:
    """Eight pictures of smooth colours, their seeds and places; with labels, those too."""
    noise = torch.rand(ROWS, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    images = torch.nn.functional.interpolate(noise, size=side, mode="bicubic").clamp(0, 1)
    batch = {"images": (images * 255).to(torch.uint8), "seeds": torch.arange(ROWS) * 7919 - 20_000}
    batch["index"] = torch.tensor([5, 2, 9, 0, 7, 1, 4, 8])
    if labels:
        batch["labels"] = torch.arange(ROWS) % labels
    return batch
