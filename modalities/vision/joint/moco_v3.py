"""MoCo v3: Chen, Xie and He 2021, arXiv 2104.02057."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import ViTModel

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, pooled, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.teacher import cosine_momentum, follow, teacher_of
from modalities.vision.joint.views import JointViews
from objectives.contrastive import info_nce, own_columns
from objectives.gather import gather, rank


@dataclass(frozen=True)
class MoCoV3Config:
    """How queries and keys are compared."""

    temperature: float = 0.2
    """Divides the cosines."""
    momentum: float = 0.99
    """Share of itself that the network of the keys keeps in each step, at first; it rises to 1 along half a cosine."""
    hidden: int = 512
    """Width of the hidden layers of both heads; 4096 in the paper."""
    width: int = 128
    """Of queries and keys; 256 in the paper."""
    freeze_patches: bool = True
    """Of a ViT, keep the projection of patches as it was drawn, which the paper found to be steadier."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.2 to 1 is usual.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"task.momentum {self.momentum} must be at least 0 and below 1; 0.99 is usual.")
        for name in ("hidden", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")


class MoCoV3(JointTask):
    """Predict which key of the batch, of all processes, is that of the other view; keys come from a slow follower.

    As in the released code, a ViT's projection has three layers and ends in a batch norm, a ResNet's has two; a ViT's
    prediction ends in a batch norm, a ResNet's does not.
    """

    coupled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: MoCoV3Config) -> None:
        super().__init__(model, views)
        self.temperature, self.momentum = cfg.temperature, cfg.momentum
        features, hidden, width = width_of(self.encoder), cfg.hidden, cfg.width
        is_vit = isinstance(self.encoder, ViTModel)
        if is_vit and cfg.freeze_patches:
            self.encoder.embeddings.patch_embeddings.requires_grad_(False)
        self.head = mlp([features, *[hidden] * (2 if is_vit else 1), width], last_norm="plain")
        self.predict = mlp([width, hidden, width], last_norm="plain" if is_vit else "none", last_bias=False)
        self.key_encoder, self.key_head = teacher_of(self.encoder), teacher_of(self.head)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}; 4 * temperature * log n is that of one who guesses among n pictures."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries of the first and of the second view, then keys of both, (n, width) each."""
        views = self.large(batch)
        q1, q2 = self.predict(self.head(self.features(views))).chunk(2)
        with torch.no_grad():
            k1, k2 = self.key_head(pooled(self.key_encoder, views)).chunk(2)
        return q1, q2, k1, k2

    def loss_from(self, q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor) -> dict[str, Tensor]:
        """InfoNCE of each view's queries among the other view's keys, times 2 * temperature as in the paper's code."""
        keys1, keys2 = gather(k1.detach()), gather(k2.detach())  # (all n, width) each
        own = own_columns(len(q1), len(keys1), rank() * len(q1), q1.device)
        losses = [info_nce(q, keys, self.temperature, own) for q, keys in ((q1, keys2), (q2, keys1))]
        return {"loss": 2 * self.temperature * (losses[0] + losses[1]), **health(q1, k2)}

    def after_step(self, progress: float) -> None:
        """The keys' network follows, ever more slowly."""
        momentum = cosine_momentum(self.momentum, progress)
        follow(self.key_encoder, self.encoder, momentum)
        follow(self.key_head, self.head, momentum)

    def negatives(self, rows: int) -> int:
        """The other pictures' keys of one view."""
        return rows - 1
