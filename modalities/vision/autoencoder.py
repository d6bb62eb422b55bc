"""Autoencoder: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 2006."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, build_encoder, feature_map
from modalities.vision.decoders import as_image, decoder_for, map_shape
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig


@dataclass(frozen=True)
class AutoencoderConfig:
    """How much of an image may pass."""

    code: int = 256
    """Numbers that a whole image is pressed into. Without such a neck, copying would be the solution."""

    def __post_init__(self) -> None:
        if self.code < 1:
            raise ValueError(f"task.code is {self.code}; an image needs at least 1 number.")


class Autoencoder(VisionTask):
    """Give a picture back after pressing it through a narrow code.

    Raises:
        ValueError: when the views do not suit the encoder; see `decoder_for`.
    """

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: AutoencoderConfig) -> None:
        super().__init__(views)
        self.encoder = build_encoder(model)
        self.neck = Neck(self.encoder, views.side, cfg.code)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss"}: the squared error of values from -1 to 1."""
        picture = self.pixels(batch)  # (n, 3, side, side)
        return {"loss": (self.reconstruct(picture) - picture).square().mean()}

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """(n, 3, side, side) -> the same shape."""
        return self.neck.decode(self.neck.code(feature_map(self.encoder, pixels)))

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The picture and what came back of it."""
        picture = self.pixels(batch)
        return {"picture": as_image(picture), "from its code": as_image(self.reconstruct(picture))}


class Neck(nn.Module):
    """From a feature map to a code of a few numbers, and from the code back to an image.

    Args:
        encoder: whose map it is. side: of the images. code: numbers in a code.
    """

    def __init__(self, encoder: PreTrainedModel, side: int, code: int) -> None:
        super().__init__()
        self.decoder = decoder_for(encoder, side)
        self.shape = map_shape(encoder, side)
        self.down = nn.Linear(math.prod(self.shape), code)
        self.up = nn.Linear(code, math.prod(self.shape))

    def code(self, features: Tensor) -> Tensor:
        """(n, width, h, w) -> (n, code)."""
        return self.down(features.flatten(1))

    def decode(self, code: Tensor) -> Tensor:
        """(n, code) -> (n, 3, side, side)."""
        return self.decoder(self.up(code).unflatten(1, self.shape).relu())
