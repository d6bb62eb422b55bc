"""DeepCluster: Caron et al. 2018, arXiv 1807.05520, in the second form that was released with SwAV (arXiv 2006.09882).

The first form trains a linear classifier that starts anew after every clustering, with its optimizer: that is no state
of a task here, and the second form is the better one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.partition import Clock, Partition
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.clusters import cluster_cross_entropy
from objectives.gather import all_reduce, gather
from objectives.precision import full_precision


@dataclass(frozen=True)
class DeepClusterConfig:
    """How many clusters there are, and when they are found."""

    clusters: int = 64
    """Of each clustering; 3,000 in the released code, for 1.28 million pictures."""
    clusterings: int = 3
    """Independent ones, whose losses are averaged: odd ones of the first views, even ones of the second."""
    temperature: float = 0.1
    """Divides the cosines to the centroids."""
    width: int = 128
    """Of the embeddings that are clustered."""
    every: int = 0
    """Updates from one clustering to the next; 0 for one epoch."""
    rounds: int = 10
    """Of k-means."""
    rows: int = 0
    """Training pictures; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.1 is usual.")
        for name, least in {"clusters": 2, "clusterings": 1, "width": 1, "every": 0, "rounds": 1, "rows": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least {least}.")


class DeepCluster(JointTask):
    """Tell for every view the cluster of its picture. Clusters are found in the embeddings that all pictures had when
    they were last shown, and their centroids are the classifier's weights until the next clustering.

    The released code passes over all pictures before it starts. Here the first epoch does that: while no cluster is
    known, the loss is 0 and the weights rest.
    """

    coupled = True
    indexed = True
    multi_crop = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: DeepClusterConfig) -> None:
        super().__init__(model, views)
        if cfg.rows < cfg.clusters:
            raise ValueError(f"task.clusters {cfg.clusters} exceeds the {cfg.rows} training pictures; ask for fewer.")
        features = width_of(self.encoder)
        self.head = mlp([features, features, cfg.width])
        self.banks = nn.ModuleList(MemoryBank(cfg.rows, cfg.width) for _ in range(2))  # of first and second views
        self.partitions = nn.ModuleList(Partition(cfg.rows, cfg.clusters, cfg.width) for _ in range(cfg.clusterings))
        self.clock = Clock(cfg.every, cfg.rows)
        self.cfg = cfg
        self._shown: tuple[Tensor, Tensor] | None = None  # (N,), (N, 2, d): index and embeddings of all processes

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health, those of the first clustering among them}; log(clusters) is the loss of one who
        guesses."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings (n, v, width) of all views, large ones first, and the places (n,) of the pictures."""
        views = [self.head(self.features(self.large(batch)))]
        if self.crops.small_count:
            views.append(self.head(self.features(self.small(batch))))
        return torch.cat(views).unflatten(0, (-1, len(batch["index"]))).transpose(0, 1), batch["index"]

    def loss_from(self, z: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of every view's cluster, over the pictures that have one."""
        parts = [self._loss(z, partition, index) for partition in self._partitions()]
        if self.training:
            self._shown = gather(index), gather(z.detach()[:, :2])
        loss = torch.stack(parts).mean()
        return {"loss": loss, **health(z[:, 0], z[:, 1]), **self._partitions()[0].use()}

    def _loss(self, z: Tensor, partition: Partition, index: Tensor) -> Tensor:
        logits = scores(z.flatten(0, 1), partition.centroids) / self.cfg.temperature  # (n*v, k)
        labels = partition.labels[index].repeat_interleave(z.shape[1])  # (n*v,)
        return cluster_cross_entropy(logits, labels, total=all_reduce)

    def require(self, rows_per_step: int, steps: int) -> None:
        """See `JointTask`; there has to be time for clusters."""
        super().require(rows_per_step, steps)
        self.clock.require(rows_per_step, steps, self.cfg.clusters)

    def resting(self, progress: float) -> Iterable[nn.Parameter]:
        """All weights, while no cluster is known."""
        return () if self._partitions()[0].known() else self.all_at_rest()

    def after_step(self, progress: float) -> None:
        """Remember this step's embeddings, and cluster when it is time."""
        if self._shown is None:
            return
        (index, z), self._shown = self._shown, None
        for place, bank in enumerate(self._banks()):
            bank.update(index, z[:, place])
        if self.clock.tick(len(index)):
            self.cluster()

    def cluster(self) -> None:
        """Find all clusters anew."""
        for place, partition in enumerate(self._partitions()):
            seed = int(self.clock.updates) * self.cfg.clusterings + place
            partition.fit(self._banks()[place % 2], self.cfg.rounds, seed)

    def _banks(self) -> list[MemoryBank]:
        return [bank for bank in self.banks if isinstance(bank, MemoryBank)]

    def _partitions(self) -> list[Partition]:
        return [partition for partition in self.partitions if isinstance(partition, Partition)]


@full_precision
def scores(z: Tensor, centroids: Tensor) -> Tensor:
    """Cosines (n, k) of z (n, d) to unit centroids (k, d)."""
    return F.normalize(z, dim=1) @ centroids.T
