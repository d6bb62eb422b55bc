"""SeLa: Asano, Rupprecht and Vedaldi 2019, arXiv 1911.05371."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.health import health
from modalities.vision.joint.memory_bank import last_places
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.assignment import sinkhorn
from objectives.clusters import cluster_use
from objectives.gather import gather
from objectives.precision import full_precision

_BALANCED = 0.01  # labels are drawn up when no cluster's share is further off than this
_ROUNDS = 300  # or after so many rounds of Sinkhorn and Knopp


@dataclass(frozen=True)
class SeLaConfig:
    """How many labels there are, and when they are drawn up."""

    clusters: int = 64
    """Labels that each head has. The paper has 3,000 for 1,000 classes."""
    heads: int = 4
    """Linear classifiers, each with labels of its own; 10 in the paper."""
    times: int = 20
    """How often in a run labels are drawn up, at equal distances; 80 in the paper, over 400 epochs."""
    strength: float = 25.0
    """Of the predictions against the assignment's entropy (the paper's lambda): the higher, the harder."""
    rows: int = 0
    """Training pictures; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        for name, least in (("clusters", 2), ("heads", 1), ("times", 1), ("rows", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least {least}.")
        if not self.strength > 0:
            raise ValueError(f"task.strength {self.strength} must be above 0; 10 to 50 is usual.")


class SeLa(JointTask):
    """Classify pictures by labels that the network gives them itself: of all assignments with equally many pictures in
    each cluster, the one that fits its predictions best.

    The released code predicts all pictures anew before it draws up labels. Here every picture's latest features are
    kept, and the present heads are applied to those: no extra pass, and features are less than an epoch old. What is
    kept is the mean over both views. As in the paper, labels are balanced and random at first.
    """

    coupled = True
    indexed = True
    bank: Tensor  # (rows, d) latest features of every training picture
    met: Tensor  # (rows,) bool, which of them there are
    labels: Tensor  # (heads, rows) int64
    drawn_up: Tensor  # () int64, how many times

    def __init__(self, model: ModelConfig, views: JointViews, cfg: SeLaConfig) -> None:
        super().__init__(model, views)
        if cfg.rows < cfg.clusters:
            raise ValueError(
                f"task.clusters {cfg.clusters} cannot get equal shares of task.rows {cfg.rows} training pictures; "
                "lower task.clusters to a third or less of them."
            )
        features = width_of(self.encoder)
        self.heads = nn.Linear(features, cfg.heads * cfg.clusters)
        self.register_buffer("bank", torch.zeros(cfg.rows, features))
        self.register_buffer("met", torch.zeros(cfg.rows, dtype=torch.bool))
        shuffled = [torch.randperm(cfg.rows) % cfg.clusters for _ in range(cfg.heads)]
        self.register_buffer("labels", torch.stack(shuffled))
        self.register_buffer("drawn_up", torch.zeros((), dtype=torch.int64))
        self.cfg = cfg
        self._fresh: tuple[Tensor, Tensor] | None = None  # (N,), (N, d): index and features of all processes

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "label_accuracy", and signs of health}; log(clusters) is the loss of a guess."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Features of both views, (n, d) each, and the pictures' places (n,)."""
        first, second = self.features(self.large(batch)).chunk(2)
        return first, second, batch["index"]

    def loss_from(self, f1: Tensor, f2: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the labels of each head, mean over heads and views."""
        if self.training:
            self._fresh = gather(index), gather(((f1 + f2) / 2).detach().to(self.bank))
        logits = torch.stack([self._logits(f1), self._logits(f2)])  # (2, n, heads, k)
        labels = self.labels[:, index].T.expand(logits.shape[:-1])  # (2, n, heads)
        loss = _cross_entropy(logits.flatten(0, 2), labels.flatten())
        said = logits.detach().argmax(dim=-1)  # (2, n, heads)
        return {
            "loss": loss,
            "label_accuracy": (said == labels).double().mean(),
            **cluster_use(said[:, :, 0].flatten(), self.cfg.clusters),  # of the first head
            **health(f1, f2),
        }

    def _logits(self, features: Tensor) -> Tensor:
        """(n, d) -> (n, heads, k)."""
        logits: Tensor = self.heads(features).unflatten(1, (self.cfg.heads, self.cfg.clusters))
        return logits

    def after_step(self, progress: float) -> None:
        """The step's features are kept; when it is time, labels are drawn up anew."""
        if self._fresh is not None:
            self._remember(*self._fresh)
            self._fresh = None
        due = int(progress * self.cfg.times)
        if due > int(self.drawn_up):
            self._draw_up()
            self.drawn_up.fill_(due)

    def _remember(self, index: Tensor, features: Tensor) -> None:
        # Where an unreadable picture's place was taken, one may come twice: the later counts, on every device alike.
        self.bank.index_copy_(0, index, features[last_places(index, len(self.bank))])
        self.met.index_fill_(0, index, True)

    @torch.no_grad()
    def _draw_up(self) -> None:
        """Labels of all pictures met so far, head by head."""
        logits = self._logits(self.bank[self.met])  # (m, heads, k)
        for head in range(self.cfg.heads):
            log_p = logits[:, head].log_softmax(dim=-1)
            shares = sinkhorn(log_p, 1 / self.cfg.strength, _ROUNDS, tolerance=_BALANCED)
            self.labels[head, self.met] = shares.argmax(dim=1)


@full_precision
def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)
