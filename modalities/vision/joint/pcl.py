"""PCL, prototypical contrastive learning: Li et al. 2020, arXiv 2005.04966."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, pooled, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.partition import Clock, Partition
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.teacher import follow, teacher_of
from modalities.vision.joint.views import JointViews
from objectives.clusters import cluster_cross_entropy, concentration
from objectives.contrastive import info_nce, own_columns
from objectives.gather import all_reduce, gather, rank
from objectives.precision import full_precision


@dataclass(frozen=True)
class PCLConfig:
    """How pictures are told apart, and clusters of them."""

    clusters: int = 32
    """Of the coarsest clustering; 25,000 in the paper, for 1.28 million pictures."""
    clusterings: int = 3
    """Each has twice the clusters of the one before; the mean of their losses is added."""
    temperature: float = 0.2
    """Divides the cosines of pictures; of clusters, on average."""
    momentum: float = 0.99
    """Of the network that follows; 0.999 in the paper, for 200 epochs of 5,000 updates."""
    width: int = 128
    """Of the embeddings."""
    every: int = 0
    """Updates from one clustering to the next; 0 for one epoch."""
    wait: float = 0.1
    """Share of the run with pictures alone, without clusters; a tenth in the released code, 20 epochs of 200."""
    rounds: int = 20
    """Of k-means."""
    rows: int = 0
    """Training pictures; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.2 is usual.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"task.momentum {self.momentum} must be at least 0 and below 1; 0.99 to 0.999 is usual.")
        if not 0 <= self.wait <= 0.5:
            raise ValueError(f"task.wait {self.wait} is a share of the run; give 0 to 0.5.")
        least = {"clusters": 2, "clusterings": 1, "width": 1, "every": 0, "rounds": 1, "rows": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least {bound}.")


class Prototypes(Partition):
    """Clusters with a temperature each: low where pictures lie close to the centroid."""

    concentrations: Tensor  # (k,)

    def __init__(self, rows: int, clusters: int, width: int, temperature: float) -> None:
        super().__init__(rows, clusters, width)
        self.temperature = temperature
        self.register_buffer("concentrations", torch.full((clusters,), temperature))

    @torch.no_grad()
    def fit(self, bank: MemoryBank, rounds: int, seed: int) -> None:
        """See `Partition`; and how concentrated each cluster is."""
        super().fit(bank, rounds, seed)
        seen = self.labels >= 0
        if bool(seen.any()):
            found = concentration(bank.rows[seen], self.centroids, self.labels[seen], self.temperature)
            self.concentrations.copy_(found)


class PCL(JointTask):
    """Find the other view of the picture, as a slowly following network sees it, among those of all pictures of the
    batch; and the picture's cluster among all clusters.

    Other than in the released code: the keys of the whole batch are the negatives, not a queue of 16,384; every
    prototype stands once among the candidates, where the sample there has some twice, as their own negatives; k-means
    is by cosine, on the keys of views as they were last shown, without another pass over all pictures.
    """

    coupled = True
    indexed = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: PCLConfig) -> None:
        super().__init__(model, views)
        counts = [cfg.clusters * 2**place for place in range(cfg.clusterings)]
        if cfg.rows < counts[-1]:
            raise ValueError(
                f"task.clusters {cfg.clusters}, doubled up to {counts[-1]}, exceed the {cfg.rows} training pictures; "
                "lower task.clusters or task.clusterings."
            )
        features = width_of(self.encoder)
        self.head = mlp([features, features, cfg.width])
        self.teacher, self.teacher_head = teacher_of(self.encoder), teacher_of(self.head)
        self.bank = MemoryBank(cfg.rows, cfg.width)
        self.prototypes = nn.ModuleList(Prototypes(cfg.rows, count, cfg.width, cfg.temperature) for count in counts)
        self.clock = Clock(cfg.every, cfg.rows)
        self.cfg = cfg
        self._shown: tuple[Tensor, Tensor] | None = None  # (N,), (N, d): index and keys of all processes

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", its parts "pictures" and "clusters" (0 while there are none), and signs of health}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (n, width) of the first views, keys (n, width) of the second ones without gradient, and the places
        (n,) of the pictures."""
        first, second = self.large(batch).chunk(2)
        with torch.no_grad():
            keys = self.teacher_head(pooled(self.teacher, second))
        return self.head(self.features(first)), keys, batch["index"]

    def loss_from(self, q: Tensor, k: Tensor, index: Tensor) -> dict[str, Tensor]:
        """InfoNCE of pictures and the mean ProtoNCE of clusterings."""
        keys, places = gather(k.detach()), gather(index)  # (N, d), (N,)
        if self.training:
            self._shown = places, keys
        own = own_columns(len(q), len(keys), rank() * len(q), q.device)
        # A picture that is in the batch twice is not its own negative.
        pictures = info_nce(q, keys, self.cfg.temperature, own, index[:, None] == places)
        clusters = torch.stack([self._loss(q, found, index) for found in self._prototypes()]).mean()
        parts = {"pictures": pictures.detach(), "clusters": clusters.detach()}
        return {"loss": pictures + clusters, **parts, **health(q, k), **self._prototypes()[0].use()}

    def _loss(self, q: Tensor, found: Prototypes, index: Tensor) -> Tensor:
        logits = scaled(q, found.centroids, found.concentrations)  # (n, c)
        return cluster_cross_entropy(logits, found.labels[index], total=all_reduce)

    def after_step(self, progress: float) -> None:
        """Follow, remember the keys, and cluster when it is time."""
        if self._shown is None:
            return
        (index, keys), self._shown = self._shown, None
        follow(self.teacher, self.encoder, self.cfg.momentum)
        follow(self.teacher_head, self.head, self.cfg.momentum)
        self.bank.update(index, keys)
        if self.clock.tick(len(index)) and progress >= self.cfg.wait:
            self.cluster()

    def require(self, rows_per_step: int, steps: int) -> None:
        """See `JointTask`; there has to be time for clusters."""
        super().require(rows_per_step, steps)
        self.clock.require(rows_per_step, steps, len(self._prototypes()[-1].centroids))

    def cluster(self) -> None:
        """Find all clusters anew."""
        for place, found in enumerate(self._prototypes()):
            found.fit(self.bank, self.cfg.rounds, int(self.clock.updates) * self.cfg.clusterings + place)

    def negatives(self, rows: int) -> int:
        """The keys of all other pictures; clusters not counted."""
        return rows - 1

    def _prototypes(self) -> list[Prototypes]:
        return [found for found in self.prototypes if isinstance(found, Prototypes)]


@full_precision
def scaled(q: Tensor, centroids: Tensor, concentrations: Tensor) -> Tensor:
    """Cosines (n, k) of q (n, d) to unit centroids (k, d), divided by each one's temperature (k,)."""
    return F.normalize(q, dim=1) @ centroids.T / concentrations
