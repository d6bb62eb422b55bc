"""MoCo v1 and v2: He et al. 2019, arXiv 1911.05722, and Chen et al. 2020, arXiv 2003.04297; and MoCHi, 2010.01028."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, pooled, width_of
from modalities.vision.batch_norm import GlobalBatchNorm2d, with_group_statistics
from modalities.vision.joint.batch_groups import (
    grouped_by_view,
    groups_in_order,
    require_groups,
    shuffled_groups,
)
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.queue import Queue
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.teacher import follow, teacher_of
from modalities.vision.joint.views import JointViews
from objectives.gather import gather
from objectives.mixed_negatives import draws_needed, mixed_negatives
from objectives.queue_contrast import queue_info_nce

_STREAM = 65  # of the mixes, and the next one for those of second views


@dataclass(frozen=True)
class MoCoConfig:
    """What queries are compared with. Default: v2, with a queue and a teacher that suit a short run."""

    temperature: float = 0.2
    """Divides the cosines; v1 has 0.07."""
    momentum: float = 0.99
    """Share of itself that the network of the keys keeps in each step; 0.999 in the paper, for 100 times as many."""
    queue: int = 1024
    """Keys of earlier steps that are negatives; 65,536 in the paper. Those of the query's own picture are left out."""
    width: int = 128
    """Of queries and keys."""
    hidden: bool = True
    """A hidden layer in the head, as in v2; v1 has none."""
    symmetric: bool = False
    """Let each view be a query once, which costs twice the passes; in v1 and v2 the first view alone is one."""
    bn_groups: int = 0
    """Shuffled batch norm: statistics of this many groups of a batch's rows, of others for keys than for queries (8
    GPUs in the paper). 0: one statistic over all rows and processes."""
    mixed: int = 0
    """MoCHi: negatives of each query that are mixed of two of its hardest; 1024 in the paper at 16,384 keys."""
    mixed_with_query: int = 0
    """MoCHi: negatives mixed of one of its hardest and the query; 128 in the paper."""
    hardest: int = 256
    """MoCHi: how many of the queue count as hardest; 1024 in the paper."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.07 to 0.2 is usual.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"task.momentum {self.momentum} must be at least 0 and below 1; 0.99 to 0.999 is usual.")
        for name in ("queue", "width", "hardest"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")
        for name in ("bn_groups", "mixed", "mixed_with_query"):
            if getattr(self, name) < 0:
                raise ValueError(f"task.{name} {getattr(self, name)} must not be negative; 0 switches it off.")
        if (self.mixed or self.mixed_with_query) and self.hardest > self.queue:
            raise ValueError(f"task.hardest {self.hardest} is more than task.queue {self.queue} holds; give less.")


class MoCo(JointTask):
    """Find the key of the other view, made by a network that follows the encoder slowly, among keys of earlier steps.

    The queue starts empty: in the first step the loss is 0 and the weights rest. In the released code random vectors
    fill it. MoCHi mixes from the first keys on, without the paper's epochs of warm-up.
    """

    coupled = True
    indexed = True
    _keys: Tensor | None = None
    _index: Tensor | None = None

    def __init__(self, model: ModelConfig, views: JointViews, cfg: MoCoConfig) -> None:
        super().__init__(model, views)
        self.cfg = cfg
        features = width_of(self.encoder)
        self.head = mlp([features, features, cfg.width] if cfg.hidden else [features, cfg.width], norm=False)
        if cfg.bn_groups:
            _require_batch_norm(self.encoder, cfg.bn_groups)
            with_group_statistics(self.encoder)
        self.key_encoder, self.key_head = teacher_of(self.encoder), teacher_of(self.head)
        self.past = Queue(cfg.queue, cfg.width)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", signs of health, age of the queue in steps}; log(1 + queue) is that of one who guesses."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries and the keys that belong to them, (n, v, width) each, v = 2 if symmetric and else 1; index and seeds
        of the pictures, (n,) each."""
        first, second = self.large(batch).chunk(2)
        both = self.cfg.symmetric
        queries = self.head(self._encoded(self.encoder, [first, second] if both else [first], batch["seeds"], False))
        with torch.no_grad():
            keys = self._encoded(self.key_encoder, [second, first] if both else [second], batch["seeds"], True)
            keys = self.key_head(keys)
        return by_picture(queries, len(first)), by_picture(keys, len(first)), batch["index"], batch["seeds"]

    def loss_from(self, queries: Tensor, keys: Tensor, index: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of each query's own key against the queue without its own picture, and against mixes of it."""
        keys = keys.detach()
        if self.training:
            self._keys, self._index = keys, index
        flat, own = (z.transpose(0, 1).flatten(0, 1) for z in (queries, keys))  # (v*n, width) each, view by view
        left_out = (index[:, None] == self.past.ids) | ~self.past.is_filled()  # (n, m)
        ignore = left_out.repeat(queries.shape[1], 1)  # (v*n, m)
        mixing = self.cfg.mixed or self.cfg.mixed_with_query
        mixes = self._mixes(flat, ignore, seeds) if mixing else (None, None)
        loss = queue_info_nce(flat, own, self.past.rows, self.cfg.temperature, ignore, *mixes)
        return {"loss": loss, **health(queries[:, 0], keys[:, 0]), **self.past.age()}

    def resting(self, progress: float) -> Iterable[nn.Parameter]:
        """All weights, while the queue is empty."""
        return () if int(self.past.filled) else self.all_at_rest()

    def after_step(self, progress: float) -> None:
        """The keys' network follows, and the keys of the step, of all processes, enter the queue."""
        follow(self.key_encoder, self.encoder, self.cfg.momentum)
        follow(self.key_head, self.head, self.cfg.momentum)
        if self._keys is not None and self._index is not None:
            keys, index = gather(self._keys), gather(self._index)  # (all n, v, width), (all n,)
            rows = F.normalize(keys.flatten(0, 1).to(self.past.rows), dim=1)
            self.past.push(rows, index.repeat_interleave(keys.shape[1]))
        self._keys = self._index = None

    def negatives(self, rows: int) -> int:
        """Those of a full queue, and the mixes."""
        return self.cfg.queue + self.cfg.mixed + self.cfg.mixed_with_query

    def require(self, rows_per_step: int, steps: int) -> None:
        """See `JointTask`; the queue has to hold a step's keys, and every group two of its rows."""
        super().require(rows_per_step, steps)
        self.past.require((2 if self.cfg.symmetric else 1) * rows_per_step)
        require_groups(rows_per_step, self.cfg.bn_groups)

    def _encoded(self, encoder: PreTrainedModel, views: list[Tensor], seeds: Tensor, shuffle: bool) -> Tensor:
        """Features of all views in one pass, (v*n, d), view by view; batch norms in groups of rows if asked for."""
        count, pixels = self.cfg.bn_groups, torch.cat(views)
        if not count:
            return pooled(encoder, pixels)
        groups = shuffled_groups(seeds, count) if shuffle else groups_in_order(seeds, count)
        with grouped_by_view(encoder, groups, count, len(views)):
            return pooled(encoder, pixels)

    def _mixes(self, queries: Tensor, ignore: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """See `mixed_negatives`: (v*n, s + s', width) and (v*n, s + s')."""
        cfg, views = self.cfg, len(queries) // len(seeds)
        count = draws_needed(cfg.mixed, cfg.mixed_with_query)
        draws = torch.cat([uniform_on_device(seeds, count, _STREAM + view) for view in range(views)])
        sizes = {"mixed": cfg.mixed, "mixed_with_query": cfg.mixed_with_query, "hardest": cfg.hardest}
        return mixed_negatives(queries, self.past.rows, draws, **sizes, ignore=ignore)


def by_picture(views: Tensor, rows: int) -> Tensor:
    """(v*n, d), view by view -> (n, v, d)."""
    return views.unflatten(0, (-1, rows)).transpose(0, 1)


def _require_batch_norm(encoder: nn.Module, groups: int) -> None:
    if not any(isinstance(module, GlobalBatchNorm2d) for module in encoder.modules()):
        raise ValueError(f"task.bn_groups {groups} has no effect, for this model has no batch norms; give 0.")
