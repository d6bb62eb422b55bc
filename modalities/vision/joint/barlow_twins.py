"""Barlow Twins: Zbontar et al. 2021, arXiv 2103.03230."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.gather import all_reduce
from objectives.redundancy import barlow_twins


@dataclass(frozen=True)
class BarlowTwinsConfig:
    """The head, and how dimensions are kept apart."""

    weight: float = 0.0051
    """Of correlations between different dimensions, of which there are width - 1 times as many as on the diagonal;
    0.0051 is for a width of 8192."""
    hidden: int = 512
    """Width of the head's two hidden layers; 8192 in the paper."""
    width: int = 512
    """Of the embeddings; 8192 in the paper."""

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"task.weight {self.weight} must not be negative.")
        for name in ("hidden", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")


class BarlowTwins(JointTask):
    """Each dimension of a view's embedding correlates with itself in the other view, and with no other."""

    coupled = True
    centred = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: BarlowTwinsConfig) -> None:
        super().__init__(model, views)
        self.head = mlp([width_of(self.encoder), cfg.hidden, cfg.hidden, cfg.width], last_bias=False)
        self.weight = cfg.weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}; the loss is 0 at best and the width where all embeddings are equal."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both views, (n, width) each."""
        first, second = self.head(self.features(self.large(batch))).chunk(2)
        return first, second

    def loss_from(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Correlations over the rows of all processes."""
        loss = barlow_twins(z1, z2, self.weight, total=all_reduce)
        return {"loss": loss, **health(_standardised(z1), _standardised(z2))}


@torch.no_grad()
def _standardised(z: Tensor) -> Tensor:
    """As the loss compares them: it sees neither shift nor scale of a dimension."""
    return F.batch_norm(z, None, None, training=True)
