"""SwAV: Caron et al. 2020, arXiv 2006.09882."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.queue import Queue
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.assignment import sinkhorn, swapped_prediction
from objectives.clusters import cluster_use
from objectives.distillation import cosine_scores
from objectives.gather import gather, rank, world_size

_LARGE = 2  # views that get a code


@dataclass(frozen=True)
class SwAVConfig:
    """Prototypes, and how views are assigned to them."""

    prototypes: int = 64
    """The paper has 3,000 for 1,000 classes in batches of 4,096. More than a batch and its queue have pictures cannot
    get an even share of them."""
    width: int = 128
    """Of the embeddings."""
    temperature: float = 0.1
    """Divides the cosines of predictions."""
    epsilon: float = 0.05
    """Of Sinkhorn: how soft codes are."""
    iterations: int = 3
    """Of Sinkhorn."""
    rest: float = 0.03
    """The first share of the run, in which prototypes rest; the released code's is one epoch."""
    queue: int = 0
    """So many earlier embeddings of each large view are balanced together with the batch's; for batches that are small
    beside the number of prototypes. The paper has 3,840 for batches of 256; 0 for none."""
    queue_from: float = 0.3
    """The share of the run after which the queue fills. What it holds is used; the released code waits until it is
    full."""

    def __post_init__(self) -> None:
        for name, least in (("prototypes", 2), ("width", 1), ("iterations", 1), ("queue", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least {least}.")
        for name in ("temperature", "epsilon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"task.{name} {getattr(self, name)} must be above 0; 0.05 to 0.1 is usual.")
        for name in ("rest", "queue_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"task.{name} {getattr(self, name)} is a share of the run; give 0 to 1.")


class SwAV(JointTask):
    """Predict to which prototypes one view of a picture was assigned, in equal shares of the batch of all processes,
    from its other views."""

    coupled = True
    multi_crop = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: SwAVConfig) -> None:
        super().__init__(model, views)
        features = width_of(self.encoder)
        self.head = mlp([features, features, cfg.width])
        # Only their directions count: they are normalised where they are used, not overwritten with unit vectors
        # before every forward pass as in the released code. So forward changes nothing.
        self.prototypes = nn.Parameter(F.normalize(torch.randn(cfg.prototypes, cfg.width), dim=1))
        self.queues = nn.ModuleList(Queue(cfg.queue, cfg.width) for _ in range(_LARGE if cfg.queue else 0))
        self.cfg = cfg
        self._fresh: Tensor | None = None  # (2, N, width) embeddings of the large views of all processes

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "code_entropy", and signs of health}; log(prototypes) is the loss of a guess."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Embeddings of every view, the large ones first: (n, width) each."""
        pixels = [self.large(batch)] + ([self.small(batch)] if self.crops.small_count else [])
        features = torch.cat([self.features(of_one_size) for of_one_size in pixels])  # (v*n, features)
        return tuple(F.normalize(self.head(features), dim=1).chunk(_LARGE + self.crops.small_count))

    def loss_from(self, *views: Tensor) -> dict[str, Tensor]:
        """Swapped prediction of the codes of the two large views."""
        scores = torch.stack([cosine_scores(z, self.prototypes) for z in views])  # (v, n, k)
        with torch.no_grad():
            codes = torch.stack([self._codes(scores[i], i) for i in range(_LARGE)])  # (2, n, k)
            if self.training and self.queues:
                self._fresh = torch.stack([gather(z.detach()) for z in views[:_LARGE]])
        return {
            "loss": swapped_prediction(scores, codes, self.cfg.temperature),
            "code_entropy": torch.special.entr(codes).sum(-1).mean(),
            # By the nearest prototype: codes are balanced even where all embeddings are one.
            **cluster_use(scores[:_LARGE].argmax(dim=-1).flatten(), self.cfg.prototypes),
            **health(views[0], views[1]),
        }

    def _codes(self, scores: Tensor, view: int) -> Tensor:
        """Of one large view, balanced over all processes and the queue; (n, k) -> (n, k)."""
        n = len(scores)
        if self.queues:
            earlier = cast(Queue, self.queues[view]).valid()
            # Every process has the whole queue, but each of its rows may count only once.
            own = earlier[rank() :: world_size()]  # (about m / world, width)
            scores = torch.cat([scores, cosine_scores(own, self.prototypes)])
        return sinkhorn(scores, self.cfg.epsilon, self.cfg.iterations, everyone=gather)[:n]

    def require(self, rows_per_step: int, steps: int) -> None:
        """See `JointTask`; a queue has to hold a step's pictures."""
        super().require(rows_per_step, steps)
        for queue in self.queues:
            cast(Queue, queue).require(rows_per_step)

    def resting(self, progress: float) -> Iterable[nn.Parameter]:
        """The prototypes, at first: see `SwAVConfig.rest`."""
        return [self.prototypes] if progress < self.cfg.rest else []

    def after_step(self, progress: float) -> None:
        """What this step embedded enters the queues."""
        if self._fresh is not None and progress >= self.cfg.queue_from:
            for queue, rows in zip(self.queues, self._fresh, strict=True):
                cast(Queue, queue).push(rows)
        self._fresh = None
