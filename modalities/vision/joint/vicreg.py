"""VICReg: Bardes, Ponce and LeCun 2021, arXiv 2105.04906."""

from dataclasses import dataclass

from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.gather import all_reduce
from objectives.redundancy import vicreg


@dataclass(frozen=True)
class VICRegConfig:
    """The head, and the weights of the three terms."""

    sim: float = 25.0
    """Of the distance between views."""
    std: float = 25.0
    """Of what a dimension's deviation lacks to 1."""
    cov: float = 1.0
    """Of the covariances of different dimensions."""
    hidden: int = 512
    """Width of the head's two hidden layers; 8192 in the paper."""
    width: int = 512
    """Of the embeddings; 8192 in the paper."""

    def __post_init__(self) -> None:
        for name in ("sim", "std", "cov"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"task.{name} {getattr(self, name)} must not be negative.")
        for name in ("hidden", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")


class VICReg(JointTask):
    """Views of a picture lie close together; every dimension varies over the batch; no two vary together."""

    coupled = True
    centred = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: VICRegConfig) -> None:
        super().__init__(model, views)
        self.head = mlp([width_of(self.encoder), cfg.hidden, cfg.hidden, cfg.width], last_bias=False)
        self.weights = {"sim": cfg.sim, "std": cfg.std, "cov": cfg.cov}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", its three terms before their weights, and signs of health}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both views, (n, width) each."""
        first, second = self.head(self.features(self.large(batch))).chunk(2)
        return first, second

    def loss_from(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Variances and covariances over the rows of all processes."""
        terms = vicreg(z1, z2, **self.weights, total=all_reduce)
        return terms | health(*(z - z.mean(0) for z in (z1.detach(), z2.detach())))  # the loss sees no shift
