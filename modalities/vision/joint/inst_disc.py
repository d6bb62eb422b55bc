"""InstDisc, instance discrimination with a memory bank: Wu et al. 2018, arXiv 1805.01978."""

from dataclasses import dataclass

from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.health import health
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.bootstrap import cosine_gap
from objectives.contrastive import info_nce
from objectives.gather import gather


@dataclass(frozen=True)
class InstDiscConfig:
    """How a picture is told from all others."""

    temperature: float = 0.07
    """Divides the cosines."""
    width: int = 128
    """Of the embeddings that are remembered."""
    momentum: float = 0.5
    """How much of a remembered embedding stays when its picture is shown again."""
    proximal: float = 0.0
    """Weight of the squared distance to the picture's remembered embedding (the paper's lambda, up to 50 there, but
    absent from the released code)."""
    rows: int = 0
    """Training pictures; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.07 is usual.")
        if self.width < 1:
            raise ValueError(f"task.width {self.width} must be at least 1.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"task.momentum {self.momentum} must be at least 0 and below 1; 0.5 is usual.")
        for name in ("proximal", "rows"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"task.{name} {getattr(self, name)} must not be negative.")


class InstDisc(JointTask):
    """Every picture is a class of its own, and its class weight is its own embedding as it was an epoch ago.

    One view of each picture. The released code estimates the softmax over the memory from drawn negatives (NCE), with
    the constant that the first batch gives; here the exact softmax takes its place, which is cheap for up to some
    100,000 pictures. Pictures that were never shown stand in random directions in the memory, as in the released code.
    """

    coupled = True
    indexed = True
    two_views = False

    def __init__(self, model: ModelConfig, views: JointViews, cfg: InstDiscConfig) -> None:
        super().__init__(model, views)
        if cfg.rows < 2:
            raise ValueError(f"task.rows {cfg.rows} must be the number of training pictures, at least 2.")
        self.head = nn.Linear(width_of(self.encoder), cfg.width)
        self.bank = MemoryBank(cfg.rows, cfg.width)
        self.cfg = cfg
        self._shown: tuple[Tensor, Tensor] | None = None  # (N,), (N, d): index and embeddings of all processes

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health: the embeddings beside the remembered ones}; log(rows) is the loss of one who
        guesses among all pictures."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings (n, width) of one view, and the places (n,) of the pictures."""
        return self.head(self.features(self.pixels(batch))), batch["index"]

    def loss_from(self, z: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cross-entropy over all pictures, and the distance to what is remembered."""
        loss = info_nce(z, self.bank.rows, self.cfg.temperature, index)
        remembered = self.bank.rows[index]  # (n, d)
        if self.cfg.proximal:
            loss = loss + self.cfg.proximal * 2 * cosine_gap(z, remembered)  # of unit vectors, the squared distance
        if self.training:
            self._shown = gather(index), gather(z.detach())
        return {"loss": loss, **health(z, remembered)}

    def after_step(self, progress: float) -> None:
        """Remember the embeddings of this step."""
        if self._shown is not None:
            (index, z), self._shown = self._shown, None
            self.bank.update(index, z, self.cfg.momentum)

    def negatives(self, rows: int) -> int:
        """All other training pictures."""
        return len(self.bank.rows) - 1
