"""Sparse autoencoder: Ng, "Sparse autoencoder", CS294A lecture notes, 2011; after Olshausen and Field, "Emergence of
simple-cell receptive field properties by learning a sparse code for natural images", Nature 1996."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from modalities.task import Batch
from modalities.vision.autoencoder import Neck
from modalities.vision.backbones import ModelConfig, build_encoder, feature_map
from modalities.vision.decoders import as_image
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig
from objectives.gather import gather
from objectives.precision import widen

_ACTIVE = 0.2  # From where a unit counts as active: at a mean of 0.05 units grade, and few ever pass one half.


@dataclass(frozen=True)
class SparseAutoencoderConfig:
    """How many units there are, and how few of them an image may use."""

    code: int = 1024
    """Units of the code. It need not be narrow: sparsity is what keeps it from copying."""
    activity: float = 0.05
    """How active a unit should be on average over images, between 0 and 1."""
    penalty: float = 0.1
    """Weight of the divergence between wanted and real activity, of which the squared error's is 1."""

    def __post_init__(self) -> None:
        if self.code < 1:
            raise ValueError(f"task.code is {self.code}; an image needs at least 1 unit.")
        if not 0 < self.activity < 1:
            raise ValueError(f"task.activity is {self.activity}; choose a mean activity between 0 and 1.")
        if self.penalty < 0:
            raise ValueError(f"task.penalty is {self.penalty} and cannot be negative.")


class SparseAutoencoder(VisionTask):
    """Give a picture back from a code of many units, of which each is active for few pictures.

    Raises:
        ValueError: when the views do not suit the encoder; see `decoder_for`.
    """

    coupled = True  # a unit's mean activity is over the rows of all processes

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: SparseAutoencoderConfig) -> None:
        super().__init__(views)
        self.cfg = cfg
        self.encoder = build_encoder(model)
        self.neck = Neck(self.encoder, views.side, cfg.code)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "l2" (squared error of values from -1 to 1), "activity" (mean over units and images), "active"
        (share of units above 0.2)}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Codes (n, code) in (0, 1) and the pictures they stand for, (n, 3, side, side)."""
        picture = self.pixels(batch)
        return self.units(picture), picture

    def loss_from(self, code: Tensor, picture: Tensor) -> dict[str, Tensor]:
        """Local pictures, and the activity of each unit over all processes."""
        l2 = (self.neck.decode(code) - picture).square().mean()
        divergence = bernoulli_divergence(self.cfg.activity, widen(gather(code)).mean(0)).mean()
        return {
            "loss": l2 + self.cfg.penalty * divergence,
            "l2": l2.detach(),
            "activity": code.detach().mean(),
            "active": (code.detach() > _ACTIVE).to(code).mean(),
        }

    def units(self, pixels: Tensor) -> Tensor:
        """(n, 3, side, side) -> (n, code) in (0, 1)."""
        return self.neck.code(feature_map(self.encoder, pixels)).sigmoid()

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The picture, how many units stand for it, and what came back."""
        code, picture = self.embed(batch)
        texts = [f"{count} of {code.shape[1]}" for count in (code > _ACTIVE).sum(1).tolist()]
        return {
            "picture": as_image(picture),
            "active units": texts,
            "from its code": as_image(self.neck.decode(code)),
        }


def bernoulli_divergence(wanted: float, found: Tensor) -> Tensor:
    """KL(wanted || found) of two coins that show heads with these probabilities, in nats. found: (...) in [0, 1]."""
    least = torch.finfo(found.dtype).eps  # a sigmoid may round to 0 or 1, of which the divergence is infinite
    found = found.clamp(least, 1 - least)
    heads = wanted * (math.log(wanted) - found.log())
    tails = (1 - wanted) * (math.log1p(-wanted) - torch.log1p(-found))
    return heads + tails
