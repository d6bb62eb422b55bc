"""Context encoder: Pathak et al. 2016, arXiv 1604.07379."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision import masks
from modalities.vision.backbones import ModelConfig, build_encoder, feature_map
from modalities.vision.decoders import as_image, decoder_for, map_shape
from modalities.vision.discriminator import Discriminator, adversarial_losses
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig

_MASK_STREAM = 1


@dataclass(frozen=True)
class InpaintingConfig:
    """What is hidden, and how the guess is judged."""

    region: Literal["centre", "blocks", "random"] = "random"
    """centre (one square), blocks (four squares anywhere) or random (a region of arbitrary shape)."""
    share: float = 0.25
    """How much of a view is hidden; of blocks, which may overlap, at most so much."""
    overlap: int = 3
    """Width in pixels of the band around the hidden region that is predicted too, though it can be seen."""
    overlap_weight: float = 10.0
    """Weight of that band in the loss, of which a hidden pixel's is 1: it makes the guess continue its surroundings."""
    adversarial: float = 0.0
    """Weight of the adversarial loss; the squared error's is 1 minus it. The paper takes 0.001; 0 trains no
    discriminator."""
    discriminator_lr: float = 0.3
    """The discriminator's learning rate, as a share of train.lr. The paper takes 0.1, in far longer runs."""
    discriminator_width: int = 16
    """Channels of the discriminator's first stage, doubled in each of the next."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"task.share is {self.share}; only a share between 0 and 1 can be hidden.")
        if not 0 <= self.adversarial < 1:
            raise ValueError(f"task.adversarial is {self.adversarial}; choose a weight from 0 to less than 1.")
        for name in ("overlap", "overlap_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"task.{name} is {getattr(self, name)} and cannot be negative.")
        for name in ("discriminator_lr", "discriminator_width"):
            if getattr(self, name) <= 0:
                raise ValueError(f"task.{name} is {getattr(self, name)} and must be positive.")


class Inpainting(VisionTask):
    """Guess the hidden part of a picture from what surrounds it.

    The discriminator sees the picture with the guess pasted in, or the true one, and not which part is hidden; it is
    asked about that part.

    Raises:
        ValueError: when the views do not suit the encoder; see `decoder_for`.
    """

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: InpaintingConfig) -> None:
        super().__init__(views)
        self.cfg = cfg
        self.encoder = build_encoder(model)
        self.decoder = decoder_for(self.encoder, views.side)
        self.mixing = ChannelwiseLinear(*map_shape(self.encoder, views.side))
        self.lr_scales: dict[str, float] = {}
        if cfg.adversarial:
            self.discriminator = Discriminator(3, cfg.discriminator_width)
            self.lr_scales = {"discriminator": cfg.discriminator_lr}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "l2"}: the squared error of values from -1 to 1. With the adversarial loss also "adversarial" (what
        the guesses lack to pass as real), "discriminator" (its loss) and "discriminator_accuracy": near 1 when it
        has won and teaches nothing more, near 0.5 when it is fooled."""
        picture, hidden = self.picture_and_mask(batch)
        guess = self.fill(picture, hidden)  # (n, 3, side, side)
        l2 = self.squared_error(guess, picture, hidden)
        if not self.cfg.adversarial:
            return {"loss": l2, "l2": l2.detach()}
        pasted = torch.where(hidden, guess, picture)
        game = adversarial_losses(self.discriminator, picture, pasted, hidden)
        share = self.cfg.adversarial
        return {
            "loss": (1 - share) * l2 + share * game["maker"] + game["discriminator"],
            "l2": l2.detach(),
            "adversarial": game["maker"].detach(),
            "discriminator": game["discriminator"].detach(),
            "discriminator_accuracy": game["accuracy"],
        }

    def picture_and_mask(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The views, (n, 3, side, side) in [-1, 1], and which pixels are hidden, bool (n, 1, side, side)."""
        seeds, side, share = batch["seeds"], self.views.side, self.cfg.share
        if self.cfg.region == "centre":
            hidden = masks.centre(seeds, side, share)
        elif self.cfg.region == "blocks":
            hidden = masks.blocks(seeds, side, share, _MASK_STREAM)
        else:
            hidden = masks.region(seeds, side, share, _MASK_STREAM)
        return self.pixels(batch), hidden

    def fill(self, picture: Tensor, hidden: Tensor) -> Tensor:
        """The guess for the whole picture, (n, 3, side, side), from its visible part."""
        features = feature_map(self.encoder, with_mean_colour(picture, hidden))  # (n, d, h, w)
        return self.decoder(self.mixing(features))

    def squared_error(self, guess: Tensor, picture: Tensor, hidden: Tensor) -> Tensor:
        """Mean over the rows of each row's weighted mean over the hidden region and the band around it."""
        band = masks.widened(hidden, self.cfg.overlap) & ~hidden
        weight = hidden.to(picture) + self.cfg.overlap_weight * band.to(picture)  # (n, 1, side, side)
        error = (guess - picture).square().mean(1, keepdim=True)
        return ((weight * error).sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The picture, what the encoder sees of it, its guess pasted in, and the guess alone."""
        picture, hidden = self.picture_and_mask(batch)
        guess = self.fill(picture, hidden)
        return {
            "picture": as_image(picture),
            "what is left": as_image(with_mean_colour(picture, hidden)),
            "filled in": as_image(torch.where(hidden, guess, picture)),
            "whole guess": as_image(guess),
        }


class ChannelwiseLinear(nn.Module):
    """Let every place see every other, channel by channel: the layer between encoder and decoder of the paper.

    A whole linear layer would have width times as many weights. Channels are mixed by the decoder. Starts near the
    identity.

    Args:
        width, height, breadth: of the maps.
    """

    def __init__(self, width: int, height: int, breadth: int) -> None:
        super().__init__()
        places = height * breadth
        self.weight = nn.Parameter(torch.eye(places) + torch.randn(width, places, places) * 0.1 / places**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """(n, width, h, w) -> the same shape."""
        mixed = torch.einsum("ndp,dqp->ndq", features.flatten(2), self.weight)
        return mixed.view_as(features)


def with_mean_colour(picture: Tensor, hidden: Tensor) -> Tensor:
    """`picture` (n, c, h, w) with its hidden pixels, bool (n, 1, h, w), set to the mean of its visible ones."""
    seen = (~hidden).to(picture)
    mean = (picture * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True).clamp(min=1)  # (n, c, 1, 1)
    return torch.where(hidden, mean, picture)
