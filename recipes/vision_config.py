"""What recipes for pictures have in common: how features are measured, and what decides the weights."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from modalities.pictures.rows import ImageSet
from modalities.vision.backbones import ModelConfig
from modalities.vision.config import DataConfig
from trainers.config import TrainConfig


@dataclass(frozen=True)
class ProbeConfig:
    """How frozen features are measured."""

    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    rows: int = 10_000
    """Labelled training images that probes and training on labels take at most, evenly spaced."""

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise ValueError(f"eval.seeds is {self.seeds}; it must not be negative.")
        if self.rows < 1:
            raise ValueError(f"eval.rows is {self.rows}; it must be at least 1 (without labels nothing is probed).")


@dataclass(frozen=True)
class EvalConfig(ProbeConfig):
    """How the trained encoder and what it is compared with are measured."""

    classic: bool = True
    """Compare with raw pixels, and with colour and gradient histograms."""
    supervised_epochs: float = 10.0
    """Train on the labels of `rows` images for this long: a new encoder, which is the bound, and this one. 0 does
    neither."""
    fractions: str = ""
    """Shares of the labels to learn from, frozen and fine-tuned, such as 0.01,0.1,1; empty leaves the study out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.supervised_epochs < 0:
            raise ValueError(f"eval.supervised_epochs is {self.supervised_epochs}; it must not be negative.")
        try:
            shares = self.shares
        except ValueError:
            shares = [0.0]
        if not all(0 < share <= 1 for share in shares):
            raise ValueError(f"eval.fractions {self.fractions!r} must be numbers above 0 and at most 1, with commas.")

    @property
    def shares(self) -> list[float]:
        """`fractions` as numbers, ascending."""
        return sorted(float(share) for share in self.fractions.split(",") if share.strip())


class VisionConfig(Protocol):
    """Options that the recipes for pictures share."""

    @property
    def data(self) -> DataConfig:
        """What to read."""
        ...

    @property
    def views(self) -> Any:
        """How views differ from their pictures, a dataclass."""
        ...

    @property
    def model(self) -> ModelConfig:
        """The encoder."""
        ...

    @property
    def task(self) -> Any:
        """Options of the method that was named, a dataclass."""
        ...

    @property
    def train(self) -> TrainConfig:
        """How it is trained, and the output folder."""
        ...

    @property
    def eval(self) -> EvalConfig:
        """How it is measured."""
        ...


def identity(config: VisionConfig, data: ImageSet) -> dict[str, Any]:
    """What decides the weights besides the training options."""
    parts = {"model": config.model, "views": config.views, "task": config.task}
    named = {name: asdict(part) for name, part in parts.items()}
    return {**named, "method": type(config.task).__name__, "data": data.fingerprint, "side": config.data.side}
