"""How joint-embedding runs are measured, beyond what all encoders of pictures are."""

from dataclasses import dataclass

from recipes.vision_config import EvalConfig


@dataclass(frozen=True)
class JointEvalConfig(EvalConfig):
    """How the trained encoder and what it is compared with are measured."""

    watched: int = 500
    """Labelled images, of training and held-out ones each, for the kNN accuracy while training; 0 for none."""
    transfer: str = ""
    """Other data to probe the features on, such as openmoji,digits: whatever data.source takes, with commas."""
    robust: int = 250
    """Held-out images that are shifted (noise, blur, ...) for a probe fitted on clean ones; 0 leaves the study out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("watched", "robust"):
            if getattr(self, name) < 0:
                raise ValueError(f"eval.{name} is {getattr(self, name)}; it must not be negative.")

    @property
    def others(self) -> list[str]:
        """`transfer` as names."""
        return [name.strip() for name in self.transfer.split(",") if name.strip()]
