"""BYOL: Grill et al. 2020, arXiv 2006.07733."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, pooled, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.teacher import cosine_momentum, follow, teacher_of
from modalities.vision.joint.views import JointViews
from objectives.bootstrap import cosine_gap


@dataclass(frozen=True)
class BYOLConfig:
    """The teacher, and the heads of both networks."""

    momentum: float = 0.97
    """Share of the teacher that an update keeps at first; it rises to 1 at the end. 0.996 in the paper, whose runs are
    a thousand times as long."""
    hidden: int = 512
    """Width inside the projector and the predictor; 4096 in the paper."""
    width: int = 128
    """Of the embeddings that are predicted; 256 in the paper."""
    norm: Literal["batch", "layer"] = "batch"
    """Of the hidden layers. With layer, and an encoder without batch norms, a step can be made in micro-batches."""

    def __post_init__(self) -> None:
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"task.momentum {self.momentum} must lie between 0 and 1; 0.9 to 0.999 is usual.")
        for name in ("hidden", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")


class BYOL(JointTask):
    """Predict what a slowly moving copy of the network makes of the other view.

    Both views go through a network in one pass, so batch norms see them together; in the released code each view has
    statistics of its own.
    """

    def __init__(self, model: ModelConfig, views: JointViews, cfg: BYOLConfig) -> None:
        super().__init__(model, views)
        self.head = mlp([width_of(self.encoder), cfg.hidden, cfg.width], norm=cfg.norm)
        self.predictor = mlp([cfg.width, cfg.hidden, cfg.width], norm=cfg.norm)
        self.teacher_encoder, self.teacher_head = teacher_of(self.encoder), teacher_of(self.head)
        self.momentum = cfg.momentum

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}. The loss is the mean of both directions, between 0 and 4 (the paper adds them
        up); 2 is that of one who knows nothing."""
        views = self.large(batch)
        z = self.head(self.features(views))  # (2n, d)
        with torch.no_grad():
            target = self.teacher_head(pooled(self.teacher_encoder, views))  # (2n, d)
        others = target.roll(len(target) // 2, 0)  # of the other view
        return {"loss": 2 * cosine_gap(self.predictor(z), others), **health(*z.chunk(2))}

    def after_step(self, progress: float) -> None:
        """The teacher follows, once per update."""
        momentum = cosine_momentum(self.momentum, progress)
        follow(self.teacher_encoder, self.encoder, momentum)
        follow(self.teacher_head, self.head, momentum)
