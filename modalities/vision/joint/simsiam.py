"""SimSiam: Chen and He 2020, arXiv 2011.10566."""

from dataclasses import dataclass

from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.bootstrap import cosine_gap


@dataclass(frozen=True)
class SimSiamConfig:
    """Its two heads."""

    width: int = 512
    """Of the projector's three layers, the last of which gives the embeddings; 2048 in the paper."""
    bottleneck: int = 128
    """Of the predictor's hidden layer; a quarter of width, as in the paper."""

    def __post_init__(self) -> None:
        for name in ("width", "bottleneck"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")


class SimSiam(JointTask):
    """Predict the embedding of the other view, as it is: the gradient stops there, and that keeps pictures apart."""

    steady = ("predictor",)

    def __init__(self, model: ModelConfig, views: JointViews, cfg: SimSiamConfig) -> None:
        super().__init__(model, views)
        widths = [width_of(self.encoder), cfg.width, cfg.width, cfg.width]
        self.head = mlp(widths, last_norm="plain")
        self.predictor = mlp([cfg.width, cfg.bottleneck, cfg.width])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}. The loss is 1 more than the paper's: between 0 and 2; 1 is that of one who
        knows nothing."""
        z = self.head(self.features(self.large(batch)))  # (2n, d)
        others = z.detach().roll(len(z) // 2, 0)  # of the other view, without gradient
        return {"loss": cosine_gap(self.predictor(z), others), **health(*z.chunk(2))}
