"""Supervised contrastive learning: Khosla et al. 2020, arXiv 2004.11362. It is no self-supervised method: it reads
labels."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.contrastive import sup_con
from objectives.gather import gather, rank


@dataclass(frozen=True)
class SupConConfig:
    """How views of one class are drawn together."""

    temperature: float = 0.1
    """Divides the cosines. The released code also multiplies the loss by this over 0.07, which moves AdamW nowhere
    else."""
    width: int = 128
    """Of the embeddings that are compared."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; the paper has 0.1.")
        if self.width < 1:
            raise ValueError(f"task.width {self.width} must be at least 1.")


class SupCon(JointTask):
    """Find all views of the same class among all views of the batch, of all processes.

    A picture without a label (-1) looks for its other view alone, as in SimCLR, among all the rest.
    """

    coupled = True
    labelled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: SupConConfig) -> None:
        super().__init__(model, views)
        features = width_of(self.encoder)
        self.head = mlp([features, features, cfg.width])
        self.temperature = cfg.temperature

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of both views, (n, width) each, and the labels (n,)."""
        first, second = self.head(self.features(self.large(batch))).chunk(2)
        return first, second, batch["labels"]

    def loss_from(self, z1: Tensor, z2: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """L_out of local views against those of all processes."""
        z = torch.stack([z1, z2], 1).flatten(0, 1)  # (2n, width), so that a process's views lie together
        start = rank() * len(z)
        known = alone_without_label(gather(labels)).repeat_interleave(2)  # (2m,)
        everyone: dict[str, Any] = {"all_z": gather(z), "all_labels": known, "offset": start}
        loss = sup_con(z, known[start : start + len(z)], self.temperature, **everyone)
        return {"loss": loss, **health(z1, z2)}

    def negatives(self, rows: int) -> int:
        """All views but this one and its other, less those of its class."""
        return 2 * rows - 2


def alone_without_label(labels: Tensor) -> Tensor:
    """Labels (m,) where each row that has none (-1) is a class of its own, by its place."""
    return torch.where(labels < 0, -1 - torch.arange(len(labels), device=labels.device), labels)
