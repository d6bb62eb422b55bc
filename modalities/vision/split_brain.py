"""Split-brain autoencoder: Zhang et al. 2017, arXiv 1611.09842."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import ResNetModel

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, normalise
from modalities.vision.block_diagonal import side_by_side
from modalities.vision.colour_bins import ColourBins
from modalities.vision.colour_mixing import CHROMA, GREY, LUMA, mix
from modalities.vision.halves import build_halves, require_halvable
from modalities.vision.hypercolumn import Hypercolumn
from modalities.vision.lab import lab_to_rgb, paint, rgb_to_lab
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig

_SHOWN_AT = 65.0  # lightness at which pictures show colours alone


@dataclass(frozen=True)
class SplitBrainConfig:
    """What the two halves predict."""

    levels: int = 50
    """Lightness is one of so many equal steps from black to white."""
    temperature: float = 0.38
    """Of the annealed means in pictures; 1 is the mean, near 0 the mode."""
    cell: int = 8
    """An answer is given for every square of so many pixels."""
    width: int = 64
    """Channels of each of the two heads."""

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ValueError(f"task.levels {self.levels} leaves nothing to tell apart; give at least 2.")
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.38 is usual.")
        if self.cell < 1 or self.width < 1:
            raise ValueError(f"task.cell {self.cell} and task.width {self.width} must be at least 1.")


class SplitBrain(VisionTask):
    """Two networks of half the width: one sees grey and says the colours, the other sees colours and says the grey.

    Between them they have seen the whole picture, and neither could copy its answer. They are published as one stock
    ResNet of the full width with block-diagonal kernels, whose features are those of both, one after the other.
    Colour goes in as Cb and Cr rather than as a and b, because only what is linear in RGB fits into a first kernel.
    """

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: SplitBrainConfig) -> None:
        super().__init__(views)
        require_halvable(model, "split-brain")
        if views.side % cfg.cell:
            raise ValueError(f"views.side {views.side} is not a multiple of task.cell {cfg.cell}.")
        self.cfg = cfg
        self.encoder = build_halves(model)
        self.bins = ColourBins()
        self.colour_head = Hypercolumn(self.encoder["grey"], cfg.width, len(self.bins))
        self.grey_head = Hypercolumn(self.encoder["colour"], cfg.width, cfg.levels)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "colour_loss", "grey_loss", "colour_accuracy", "grey_accuracy"}; the loss is the sum of the two."""
        rgb = self.view(batch)
        lab = rgb_to_lab(F.avg_pool2d(rgb, self.cfg.cell)).movedim(1, -1).flatten(0, 2)  # (n*h*w, 3)
        colour, grey = (answer.flatten(0, 2) for answer in self.answer(normalise(rgb)))  # (n*h*w, q), (n*h*w, levels)
        bins, shares = self.bins.encode(lab[:, 1:])
        level = self.levels_of(lab[:, 0])
        colour_loss, grey_loss = self.bins.loss(colour, bins, shares), F.cross_entropy(grey, level)
        return {
            "loss": colour_loss + grey_loss,
            "colour_loss": colour_loss.detach(),
            "grey_loss": grey_loss.detach(),
            "colour_accuracy": (colour.argmax(1) == bins[:, 0]).to(rgb.dtype).mean(),
            "grey_accuracy": (grey.argmax(1) == level).to(rgb.dtype).mean(),
        }

    def answer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, side, side) -> logits of the colours (n, h, w, q) and of the lightness (n, h, w, levels)."""
        grid = (pixels.shape[-2] // self.cfg.cell, pixels.shape[-1] // self.cfg.cell)
        colour = self.colour_head(self.encoder["grey"], mix(pixels, LUMA), grid)
        return colour, self.grey_head(self.encoder["colour"], mix(pixels, CHROMA), grid)

    def export(self) -> ResNetModel:
        """One ResNet of both halves, for RGB images."""
        return side_by_side(self.encoder["grey"], LUMA, self.encoder["colour"], CHROMA)

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Both directions."""
        rgb = self.view(batch)
        seen = mix(rgb, GREY)
        colour, grey = self.answer(normalise(rgb))
        ab = rgb_to_lab(rgb)[:, 1:]
        lightness = F.interpolate(self.lightness_of(grey)[:, None], size=rgb.shape[-2:], mode="bilinear")
        return {
            "grey goes in": seen,
            "colours come out": paint(seen, self.bins.decode(colour.movedim(-1, 1), self.cfg.temperature)),
            "colours go in": lab_to_rgb(torch.cat([torch.full_like(lightness, _SHOWN_AT), ab], 1)),
            "grey comes out": lab_to_rgb(torch.cat([lightness, torch.zeros_like(ab)], 1)),
            "picture": rgb,
        }

    def levels_of(self, lightness: Tensor) -> Tensor:
        """The step of a lightness from 0 to 100, long, same shape."""
        return (lightness * (self.cfg.levels / 100)).long().clamp(0, self.cfg.levels - 1)

    def lightness_of(self, answer: Tensor) -> Tensor:
        """Logits of the steps (n, h, w, levels) -> their annealed mean, (n, h, w) from 0 to 100."""
        steps = torch.arange(self.cfg.levels, device=answer.device, dtype=answer.dtype)
        return (answer / self.cfg.temperature).softmax(-1) @ ((steps + 0.5) * (100 / self.cfg.levels))
