"""InstDisc, instance discrimination with a memory bank: Wu et al. 2018, arXiv 1805.01978."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.draws import integers_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.health import health
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.contrastive import info_nce
from objectives.gather import all_reduce, gather
from objectives.metric_learning import nce
from objectives.precision import full_precision

_NOISE = 64  # stream of the draws of negatives


@dataclass(frozen=True)
class InstDiscConfig:
    """How a picture is told from all others."""

    temperature: float = 0.07
    """Divides the cosines."""
    width: int = 128
    """Of the embeddings that are remembered."""
    momentum: float = 0.5
    """How much of a remembered embedding stays when its picture is shown again."""
    negatives: int = 0
    """Noise pictures drawn for each one, for noise-contrastive estimation as in the released code, which draws 4,096 of
    1.28 million; 0 takes the exact softmax over all pictures, which is cheap for up to some 100,000. The constant is
    that of the first batch, beside a still random memory: on 1,799 pictures and 120 updates nothing was learned so."""
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
        for name in ("negatives", "proximal", "rows"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"task.{name} {getattr(self, name)} must not be negative.")


class InstDisc(JointTask):
    """Every picture is a class of its own, and its class weight is its own embedding as it was an epoch ago.

    One view of each picture. Pictures that were never shown stand in random directions in the memory, as in the
    released code.
    """

    coupled = True
    indexed = True
    constant: Tensor  # () the softmax's denominator as noise-contrastive estimation takes it, 0 until the first batch

    def __init__(self, model: ModelConfig, views: JointViews, cfg: InstDiscConfig) -> None:
        super().__init__(model, views)
        if cfg.rows < 2:
            raise ValueError(f"task.rows {cfg.rows} must be the number of training pictures, at least 2.")
        self.head = nn.Linear(width_of(self.encoder), cfg.width)
        self.bank = MemoryBank(cfg.rows, cfg.width)
        self.register_buffer("constant", torch.zeros(()))
        self.cfg = cfg
        self._shown: tuple[Tensor, Tensor, Tensor] | None = None  # (N,), (N, d), (): index, embeddings, constant

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health: the embeddings beside the remembered ones}; log(rows) is the loss of one who
        guesses among all pictures."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (n, width) of one view, the places (n,) of the pictures, and their seeds (n,)."""
        return self.head(self.features(self.pixels(batch))), batch["index"], batch["seeds"]

    def loss_from(self, z: Tensor, index: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """Cross-entropy over all pictures, or noise-contrastive estimation of it."""
        constant = self.constant
        if self.cfg.negatives:
            loss, constant = self._estimated(z, index, seeds)
        else:
            loss = info_nce(z, self.bank.rows, self.cfg.temperature, index)
        remembered = self.bank.rows[index]  # (n, d)
        if self.cfg.proximal:
            loss = loss + self.cfg.proximal * _gap(z, remembered)
        if self.training:
            self._shown = gather(index), gather(z.detach()), constant
        return {"loss": loss, **health(z, remembered)}

    def _estimated(self, z: Tensor, index: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the constant: as released, all exponentials of the first batch give it once and for all."""
        rows = len(self.bank.rows)
        noise = integers_on_device(seeds, self.cfg.negatives, _NOISE) % rows  # (n, k)
        chosen = self.bank.rows[torch.cat([index[:, None], noise], dim=1)]  # (n, 1 + k, d)
        scores = _scores(z, chosen, self.cfg.temperature)  # (n, 1 + k)
        sums = all_reduce(torch.stack([scores.detach().exp().mean(), scores.new_ones(())]))
        constant = torch.where(self.constant > 0, self.constant, rows * sums[0] / sums[1])
        log_p = scores - constant.log()
        log_noise = torch.full_like(scores, -math.log(rows))
        return nce(log_p[:, 0], log_p[:, 1:], log_noise[:, 0], log_noise[:, 1:]), constant

    def after_step(self, progress: float) -> None:
        """Remember the embeddings of this step."""
        if self._shown is not None:
            (index, z, constant), self._shown = self._shown, None
            self.bank.update(index, z, self.cfg.momentum)
            self.constant.copy_(constant)

    def negatives(self, rows: int) -> int:
        """All other training pictures, or those that are drawn."""
        return self.cfg.negatives or len(self.bank.rows) - 1


@full_precision
def _scores(z: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """Cosines over temperature, (n, k), of z (n, d) with its own rows (n, k, d)."""
    scores: Tensor = (chosen @ F.normalize(z, dim=1)[:, :, None]).squeeze(2) / temperature
    return scores


@full_precision
def _gap(z: Tensor, remembered: Tensor) -> Tensor:
    """The mean squared distance of directions, ()."""
    return (F.normalize(z, dim=1) - remembered).square().sum(1).mean()
