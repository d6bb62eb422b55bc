"""NNCLR: Dwibedi et al. 2021, arXiv 2104.14548."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.queue import Queue
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.contrastive import info_nce, own_columns
from objectives.gather import gather, rank
from objectives.precision import full_precision


@dataclass(frozen=True)
class NNCLRConfig:
    """Where neighbours are looked for, and how they are compared."""

    queue: int = 1024
    """Embeddings of earlier pictures in which neighbours are looked for, the support set: at least as many as a step of
    all processes has rows. The paper keeps 98,304, a thirteenth of its training pictures."""
    temperature: float = 0.1
    """Divides the cosines; the paper's."""
    width: int = 128
    """Of the embeddings that are compared; 256 in the paper."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; the paper has 0.1.")
        for name in ("queue", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")


class NNCLR(JointTask):
    """From one view, predict what is most like the other view among earlier pictures: positives are neighbours.

    The neighbour of each local embedding is told which prediction of the batch, of all processes, is its own.
    Neighbours carry no gradient. In the first step, when there are none, each embedding is its own.
    """

    coupled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: NNCLRConfig) -> None:
        super().__init__(model, views)
        features = width_of(self.encoder)
        self.head = mlp([features, features, features, cfg.width], last_norm="affine")
        self.predictor = mlp([cfg.width, 2 * features, cfg.width])
        self.support = Queue(cfg.queue, cfg.width)
        self.temperature = cfg.temperature
        self._keys: Tensor | None = None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "neighbour_cosine", age of the support set, signs of health}; log(n) is that of one who guesses."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predictions from both views and embeddings of both, without gradient, (n, width) each."""
        z = self.head(self.features(self.large(batch)))  # (2n, width)
        p1, p2 = self.predictor(z).chunk(2)
        z1, z2 = F.normalize(z.detach(), dim=1).chunk(2)
        return p1, p2, z1, z2

    def loss_from(self, p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """InfoNCE of each view's neighbours against the predictions from the other view, both ways."""
        near1, near2 = self.neighbours(z1), self.neighbours(z2)
        all_p1, all_p2 = gather(p1), gather(p2)
        own = own_columns(len(p1), len(all_p1), rank() * len(p1), p1.device)
        forth, back = info_nce(near1, all_p2, self.temperature, own), info_nce(near2, all_p1, self.temperature, own)
        if self.training:
            self._keys = gather(z1.detach())
        cosine = (near1 * z1).sum(1).mean()
        return {"loss": (forth + back) / 2, "neighbour_cosine": cosine, **self.support.age(), **health(z1, z2)}

    @torch.no_grad()
    @full_precision
    def neighbours(self, z: Tensor) -> Tensor:
        """Of unit vectors z (n, width) the most similar rows of the support set, (n, width)."""
        known = self.support.rows.to(z.dtype)  # (queue, width)
        cosines = (z @ known.T).masked_fill(~self.support.is_filled(), -2.0)  # (n, queue)
        return torch.where(self.support.filled > 0, known[cosines.argmax(1)], z)

    def require(self, rows_per_step: int, steps: int) -> None:
        """See `JointTask`; the support set has to hold a step's pictures."""
        super().require(rows_per_step, steps)
        self.support.require(rows_per_step)

    def after_step(self, progress: float) -> None:
        """The first views of this step, of all processes, join the support set."""
        if self._keys is not None:
            self.support.push(self._keys)
            self._keys = None

    def negatives(self, rows: int) -> int:
        """Predictions from the other pictures."""
        return rows - 1
