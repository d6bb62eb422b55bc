"""SimCLR: Chen et al. 2020, arXiv 2002.05709."""

from dataclasses import dataclass

from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.contrastive import nt_xent
from objectives.gather import gather, rank


@dataclass(frozen=True)
class SimCLRConfig:
    """How views are told apart."""

    temperature: float = 0.2
    """Divides the cosines."""
    width: int = 128
    """Of the embeddings that are compared."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.1 to 0.5 is usual.")
        if self.width < 1:
            raise ValueError(f"task.width {self.width} must be at least 1.")


class SimCLR(JointTask):
    """Find the other view of the same picture among all views of the batch, of all processes."""

    coupled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: SimCLRConfig) -> None:
        super().__init__(model, views)
        features = width_of(self.encoder)
        self.head = mlp([features, features, cfg.width])
        self.temperature = cfg.temperature

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}; log(2n - 1) is that of one who guesses."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both views, (n, width) each."""
        first, second = self.head(self.features(self.large(batch))).chunk(2)
        return first, second

    def loss_from(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """NT-Xent of local views against those of all processes."""
        everyone = {"all_z1": gather(z1), "all_z2": gather(z2), "offset": rank() * len(z1)}
        return {"loss": nt_xent(z1, z2, self.temperature, **everyone), **health(z1, z2)}

    def negatives(self, rows: int) -> int:
        """All views but this one and its other."""
        return 2 * rows - 2
