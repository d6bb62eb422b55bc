"""SimCLR: Chen et al. 2020, arXiv 2002.05709; with a deeper head v2, arXiv 2006.10029."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.contrastive import nt_xent
from objectives.gather import gather, rank
from objectives.hard_negatives import hard_nt_xent


@dataclass(frozen=True)
class SimCLRConfig:
    """How views are told apart."""

    temperature: float = 0.2
    """Divides the cosines."""
    width: int = 128
    """Of the embeddings that are compared."""
    layers: int = 2
    """Of the head: 2 in SimCLR, 3 in v2. What v2 adds by fine-tuning from the head's first layer is left out: the stock
    encoder that is published ends before the head. Its memory of negatives is MoCo's queue."""
    hardness: float = 0.0
    """Weigh negatives by exp(hardness * cosine / temperature): beta of arXiv 2010.04592, there 1 at temperature 0.5."""
    prior: float = 0.0
    """Probability that another picture shows the same thing, which is taken off the negatives: tau+ of arXiv
    2007.00224, there 0.1 for ten classes."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.1 to 0.5 is usual.")
        for name in ("width", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")
        if not self.hardness >= 0:
            raise ValueError(f"task.hardness {self.hardness} must not be negative; 0 weighs all negatives alike.")
        if not 0 <= self.prior < 1:
            raise ValueError(f"task.prior {self.prior} is a probability: give 0 or more, and less than 1.")


class SimCLR(JointTask):
    """Find the other view of the same picture among all views of the batch, of all processes."""

    coupled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: SimCLRConfig) -> None:
        super().__init__(model, views)
        self.head = mlp([width_of(self.encoder)] * cfg.layers + [cfg.width])
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}; log(2n - 1) is that of one who guesses."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both views, (n, width) each."""
        first, second = self.head(self.features(self.large(batch))).chunk(2)
        return first, second

    def loss_from(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """NT-Xent of local views against those of all processes."""
        everyone: dict[str, Any] = {"all_z1": gather(z1), "all_z2": gather(z2), "offset": rank() * len(z1)}
        cfg = self.cfg
        if cfg.hardness or cfg.prior:
            loss = hard_nt_xent(z1, z2, cfg.temperature, cfg.hardness, cfg.prior, **everyone)
        else:
            loss = nt_xent(z1, z2, cfg.temperature, **everyone)
        return {"loss": loss, **health(z1, z2)}

    def negatives(self, rows: int) -> int:
        """All views but this one and its other."""
        return 2 * rows - 2
