"""ODC, online deep clustering: Zhan et al. 2020, arXiv 2006.10645."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.online_clusters import OnlineClusters
from modalities.vision.joint.partition import Clock
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.clusters import cluster_cross_entropy
from objectives.gather import all_reduce, gather


@dataclass(frozen=True)
class ODCConfig:
    """How many clusters there are, and how they change."""

    clusters: int = 64
    """10,000 in the paper, for 1.28 million pictures."""
    width: int = 128
    """Of the embeddings that are remembered; 256 in the paper."""
    momentum: float = 0.5
    """How much of a remembered embedding stays when its picture is shown again."""
    every: int = 10
    """Updates from one computation of all centroids to the next."""
    least: int = 5
    """Pictures that a cluster must keep; smaller ones are dissolved. 20 in the paper."""
    reweight: float = 0.5
    """Pictures count by their cluster's size to the power of minus this; 0 counts all alike."""
    rounds: int = 10
    """Of the k-means after the first epoch."""
    rows: int = 0
    """Training pictures; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        for name, least in (("clusters", 2), ("width", 1), ("every", 1), ("least", 1), ("rounds", 1), ("rows", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least {least}.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"task.momentum {self.momentum} must be at least 0 and below 1; 0.5 is usual.")
        if not self.reweight >= 0:
            raise ValueError(f"task.reweight {self.reweight} must not be negative; 0.5 is usual.")


class ODC(JointTask):
    """Classify every picture by the cluster it is in at the moment. The shown pictures move to the nearest centroids
    after every update, so that the classifier follows and need never start anew.

    One view of each picture. The released code begins with a pass over all pictures and k-means; here the first epoch
    does that: while no cluster is known, the loss is 0 and the weights rest.
    """

    coupled = True
    indexed = True
    two_views = False
    moved: Tensor  # () float64, share of the latest batch that changed clusters

    def __init__(self, model: ModelConfig, views: JointViews, cfg: ODCConfig) -> None:
        super().__init__(model, views)
        if cfg.rows < cfg.clusters * cfg.least:
            raise ValueError(
                f"task.clusters {cfg.clusters} of task.least {cfg.least} pictures exceed the {cfg.rows} training "
                "pictures; lower one of the two."
            )
        features = width_of(self.encoder)
        self.head = mlp([features, features, cfg.width])
        self.classifier = nn.Linear(cfg.width, cfg.clusters)
        self.bank = MemoryBank(cfg.rows, cfg.width)
        self.partition = OnlineClusters(cfg.rows, cfg.clusters, cfg.width)
        self.clock = Clock(0, cfg.rows)
        self.register_buffer("moved", torch.zeros((), dtype=torch.float64))
        self.cfg = cfg
        self._shown: tuple[Tensor, Tensor] | None = None  # (N,), (N, d): index and embeddings of all processes

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", the share of pictures that "moved" to another cluster after the step before, and signs of health:
        the embeddings beside the remembered ones}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings (n, width) of one view, and the places (n,) of the pictures."""
        return self.head(self.features(self.pixels(batch))), batch["index"]

    def loss_from(self, z: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the pictures' clusters, those of large clusters counting less."""
        if self.training:
            self._shown = gather(index), gather(z.detach())
        weights = self.partition.sizes().clamp(min=1).to(self.dtype) ** -self.cfg.reweight  # (k,)
        labels = self.partition.labels[index]  # (n,)
        loss = cluster_cross_entropy(self.classifier(z), labels, weights, total=all_reduce)
        return {"loss": loss, "moved": self.moved, **health(z, self.bank.rows[index]), **self.partition.use()}

    def require(self, rows_per_step: int, steps: int) -> None:
        """See `JointTask`; there has to be time for clusters."""
        super().require(rows_per_step, steps)
        self.clock.require(rows_per_step, steps, self.cfg.clusters)

    def resting(self, progress: float) -> Iterable[nn.Parameter]:
        """All weights, while no cluster is known."""
        return () if self.partition.known() else self.all_at_rest()

    def after_step(self, progress: float) -> None:
        """Remember this step's embeddings, move the pictures, and keep the clusters in order."""
        if self._shown is None:
            return
        (index, z), self._shown = self._shown, None
        self.bank.update(index, z, self.cfg.momentum)
        epoch = self.clock.tick(len(index))
        if not self.partition.known():
            if epoch:
                self.partition.fit(self.bank, self.cfg.rounds, int(self.clock.updates))
            return
        self.moved.copy_(self.partition.assign(self.bank, index))
        if int(self.clock.updates) % self.cfg.every == 0:
            self.partition.move_centroids(self.bank)
        self.partition.dissolve_small(self.bank, self.cfg.least)
