"""Colorization: Zhang et al. 2016, arXiv 1603.08511."""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, build_encoder, normalise
from modalities.vision.colour_bins import ColourBins
from modalities.vision.colour_mixing import GREY, fold, mix
from modalities.vision.hypercolumn import Hypercolumn
from modalities.vision.lab import paint, rgb_to_lab
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig

_SPREAD = 50.0  # a and b in units in which they are about 1


@dataclass(frozen=True)
class ColorizationConfig:
    """What is predicted of a colour, and how."""

    loss: Literal["classification", "regression"] = "classification"
    """classification: the paper's, over bins of the ab plane. regression: squared error of a and b, whose best answer
    for a thing that may be red or green is the grey between them."""
    uniform: float = 0.5
    """Classification: share of the uniform distribution in the prior by which rare colours gain weight (lambda); 1
    weighs all colours alike."""
    temperature: float = 0.38
    """Classification: of the annealed mean that makes one colour of a distribution; 1 is the mean, near 0 the mode."""
    cell: int = 8
    """A colour is predicted for every square of so many pixels (4 in the paper, at four times the price)."""
    width: int = 64
    """Channels of the head."""

    def __post_init__(self) -> None:
        if not 0 < self.uniform <= 1:
            raise ValueError(f"task.uniform {self.uniform} is a share; give more than 0 and at most 1.")
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; the paper takes 0.38.")
        if self.cell < 1 or self.width < 1:
            raise ValueError(f"task.cell {self.cell} and task.width {self.width} must be at least 1.")


class Colorization(VisionTask):
    """Say the colours of a picture from its grey version: what a thing is tells which colours it may have.

    The encoder sees grey in all three of its channels. The published one has that mixing in its first kernel, so that
    it takes RGB images and answers as this one does to their grey versions.
    """

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: ColorizationConfig) -> None:
        super().__init__(views)
        if views.side % cfg.cell:
            raise ValueError(f"views.side {views.side} is not a multiple of task.cell {cfg.cell}.")
        self.cfg = cfg
        self.encoder = build_encoder(model)
        self.bins = ColourBins(cfg.uniform) if cfg.loss == "classification" else None
        self.head = Hypercolumn(self.encoder, cfg.width, len(self.bins) if self.bins else 2)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"}, or with regression {"loss", "error"}.

        accuracy: share of cells in which the likeliest bin is the nearest one. error: root of the mean squared distance
        in the ab plane.
        """
        rgb = self.view(batch)
        return self.loss_of(self.answer(normalise(rgb)), self.colours(rgb).movedim(1, -1).flatten(0, 2))

    def loss_of(self, answer: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """What `forward` returns, for an `answer` and the true colours (n*h*w, 2)."""
        answer = answer.flatten(0, 2)  # (n*h*w, q), or (n*h*w, 2)
        if self.bins is None:
            squared = (answer - ab / _SPREAD).square().sum(1)
            return {"loss": squared.mean() / 2, "error": squared.detach().mean().sqrt() * _SPREAD}
        bins, shares = self.bins.encode(ab)
        accuracy = (answer.argmax(1) == bins[:, 0]).to(ab.dtype).mean()
        return {"loss": self.bins.loss(answer, bins, shares), "accuracy": accuracy}

    def answer(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, side, side) -> (n, h, w, q) logits of colours, or (n, h, w, 2) colours, one each cell."""
        grid = (pixels.shape[-2] // self.cfg.cell, pixels.shape[-1] // self.cfg.cell)
        return self.head(self.encoder, mix(pixels, GREY), grid)

    def decoded(self, answer: Tensor) -> Tensor:
        """The colours that an `answer` comes down to, ab (n, 2, h, w)."""
        answer = answer.movedim(-1, 1)
        return answer * _SPREAD if self.bins is None else self.bins.decode(answer, self.cfg.temperature)

    def colours(self, rgb: Tensor) -> Tensor:
        """Mean colour of each cell: (n, 3, side, side) -> ab (n, 2, h, w)."""
        return rgb_to_lab(F.avg_pool2d(rgb, self.cfg.cell))[:, 1:]

    def prepare(self, images: Tensor) -> None:
        """Learn how rare each colour is from a sample of the training images, uint8 (m, 3, h, w), before the first
        step; the same sample on every process."""
        if self.bins is not None:
            rgb = (images / 255).to(self.dtype)
            self.bins.estimate(self.colours(rgb).movedim(1, -1).flatten(0, 2))

    def export(self) -> PreTrainedModel:
        """The encoder for RGB images."""
        published = copy.deepcopy(self.encoder)
        kernel = next(m for m in published.modules() if isinstance(m, nn.Conv2d)).weight
        kernel.data = fold(kernel.data, GREY)
        return published

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Grey as it goes in, the colours that come out on it, and the picture as it was."""
        rgb = self.view(batch)
        grey = mix(rgb, GREY)
        colours = paint(grey, self.decoded(self.answer(normalise(rgb))))
        return {"picture": rgb, "grey": grey, "coloured": colours}
