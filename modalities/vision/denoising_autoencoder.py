"""Denoising autoencoder: Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML
2008, and "Stacked denoising autoencoders", JMLR 2010."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, build_encoder, feature_map
from modalities.vision.decoders import as_image, decoder_for
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig

_NOISE_STREAM = 1


@dataclass(frozen=True)
class DenoisingAutoencoderConfig:
    """How a picture is spoilt."""

    noise: Literal["gaussian", "masking", "salt_and_pepper"] = "masking"
    """gaussian (added to every value), masking (pixels set to grey) or salt_and_pepper (pixels set to black or white).
    """
    level: float = 0.5
    """gaussian: standard deviation, of values from 0 to 1. Else: probability that a pixel is spoilt."""
    emphasis: float = 1.0
    """Weight of a spoilt pixel's error, of which an intact one's is 1. Gaussian noise leaves none intact."""

    def __post_init__(self) -> None:
        most = math.inf if self.noise == "gaussian" else 1
        if not 0 < self.level <= most:
            raise ValueError(f"task.level is {self.level}; {self.noise} noise needs one above 0 and at most {most}.")
        if self.emphasis < 0:
            raise ValueError(f"task.emphasis is {self.emphasis} and cannot be negative.")


class DenoisingAutoencoder(VisionTask):
    """Give the clean picture back from a spoilt one.

    Raises:
        ValueError: when the views do not suit the encoder; see `decoder_for`.
    """

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: DenoisingAutoencoderConfig) -> None:
        super().__init__(views)
        self.cfg = cfg
        self.encoder = build_encoder(model)
        self.decoder = decoder_for(self.encoder, views.side)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "l2" (without emphasis)}: the squared error of values from -1 to 1."""
        picture = self.pixels(batch)  # (n, 3, side, side)
        noisy, spoilt = corrupt(picture, batch["seeds"], self.cfg)
        error = (self.clean(noisy) - picture).square().mean(1, keepdim=True)  # (n, 1, side, side)
        weight = torch.where(spoilt, self.cfg.emphasis, 1.0).to(error)
        # Divided by the expected weight: that of a row would make its loss a ratio of two draws.
        share = 1.0 if self.cfg.noise == "gaussian" else self.cfg.level
        return {"loss": (weight * error).mean() / (share * self.cfg.emphasis + 1 - share), "l2": error.detach().mean()}

    def clean(self, noisy: Tensor) -> Tensor:
        """(n, 3, side, side) -> the same shape."""
        return self.decoder(feature_map(self.encoder, noisy))

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The picture, the spoilt one that goes in, and what comes out."""
        picture = self.pixels(batch)
        noisy, _ = corrupt(picture, batch["seeds"], self.cfg)
        return {"picture": as_image(picture), "spoilt": as_image(noisy), "cleaned": as_image(self.clean(noisy))}


def corrupt(picture: Tensor, seeds: Tensor, cfg: DenoisingAutoencoderConfig) -> tuple[Tensor, Tensor]:
    """The spoilt picture and which pixels are, bool (n, 1, h, w). picture (n, c, h, w) in [-1, 1]; seeds (n,)."""
    n, _, h, w = picture.shape
    if cfg.noise == "gaussian":
        noise = normal(seeds, picture[0].numel()).view_as(picture).to(picture)
        return picture + 2 * cfg.level * noise, torch.ones_like(picture[:, :1], dtype=torch.bool)
    u = uniform_on_device(seeds, h * w, _NOISE_STREAM).view(n, 1, h, w)
    if cfg.noise == "masking":
        return picture.masked_fill(u < cfg.level, 0.0), u < cfg.level
    # Black below half the level, white from there up to the level.
    return picture.masked_fill(u < cfg.level, 1.0).masked_fill(u < cfg.level / 2, -1.0), u < cfg.level


def normal(seeds: Tensor, count: int) -> Tensor:
    """Standard normal draws, (n, count) fp32 (Box and Muller 1958): row i depends on `seeds[i]` alone."""
    half = (count + 1) // 2
    radius, angle = uniform_on_device(seeds, 2 * half, _NOISE_STREAM).chunk(2, 1)  # (n, half) each
    radius = (-2 * torch.log1p(-radius)).sqrt()  # a uniform draw may be 0, never 1
    return torch.cat([radius * (2 * math.pi * angle).cos(), radius * (2 * math.pi * angle).sin()], 1)[:, :count]
