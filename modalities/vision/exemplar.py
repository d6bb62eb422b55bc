"""Exemplar CNN: Dosovitskiy et al. 2014, arXiv 1406.6909."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.answers import judge
from modalities.vision.backbones import ModelConfig, build_encoder, pooled, width_of
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig


@dataclass(frozen=True)
class ExemplarConfig:
    """The surrogate classes."""

    classes: int = 0
    """How many training pictures there are, each a class of its own; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        if self.classes < 0:
            raise ValueError(f"task.classes is {self.classes}; it is a number of pictures and must not be negative.")


class Exemplar(VisionTask):
    """Tell which training picture a view was made from.

    Besides images and seeds, batches hold index (n,), the place of each picture among the training pictures (see
    `modalities.vision.indexed`). The last layer has one row for every picture, so this is a method for thousands of
    them, not millions. Pictures that were not trained on have no class: a held-out loss is that of new views of
    training pictures.
    """

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: ExemplarConfig) -> None:
        super().__init__(views)
        if cfg.classes < 2:
            raise ValueError(f"task.classes is {cfg.classes}; exemplar needs at least two training pictures.")
        self.encoder = build_encoder(model)
        self.head = nn.Linear(width_of(self.encoder), cfg.classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"}; chance is 1 / classes."""
        return judge(self.guess(self.pixels(batch)), batch["index"])

    def guess(self, pixels: Tensor) -> Tensor:
        """pixels (n, 3, h, w) in [-1, 1] -> logits of the picture they were made from (n, classes)."""
        logits: Tensor = self.head(pooled(self.encoder, pixels))
        return logits

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Three views of every picture: one class. Its neighbours are other classes, however alike they are."""
        images = batch["images"].to(self.dtype) / 255
        return {"picture": images, **{f"view {k + 1}": self.view(batch, stream=k) for k in range(3)}}
