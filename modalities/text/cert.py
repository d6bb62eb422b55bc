"""CERT: Fang et al. 2020, arXiv 2005.12766; with the queue of MoCo (He et al. 2019, arXiv 1911.05722)."""

import copy
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.cutoff import FIRST, SECOND, View, read_view
from modalities.text.sentence_encoder import Pooling, SentenceTask, pool
from objectives.contrastive import info_nce
from objectives.diagnostics import embedding_std
from objectives.gather import gather


@dataclass(frozen=True)
class CERTConfig:
    """Options of CERT."""

    queue: int = 2048
    """Keys of earlier batches that serve as negatives; not tied to the batch size."""
    momentum: float = 0.99
    """Share of itself that the teacher keeps in each step; 0.999 for long runs."""
    temperature: float = 0.07
    """Divides the cosines."""
    projection: int = 64
    """Width of the vectors that are compared."""
    view: View = "none"
    """What is taken from the embeddings of both sides besides: none, token, feature or span cutoff, or shuffle."""
    share: float = 0.2
    """Of the tokens or dimensions that a cutoff takes."""

    def __post_init__(self) -> None:
        for name in ("queue", "projection"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least 1.")
        for name in ("momentum", "share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least 0 and below 1.")
        if self.temperature <= 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0.")


@dataclass
class _NewKeys:
    """Keys of the step that is being made, in one piece or in micro-batches, and the ids of their rows. They are no
    state: a step that is not taken leaves none to the next."""

    keys: list[Tensor] = field(default_factory=list)
    ids: list[Tensor] = field(default_factory=list)


class CERT(SentenceTask):
    """Find a teacher's vector of the other wording of a text among those of earlier batches.

    The paper words texts anew by translating them there and back; here any two texts of a row will do (two
    translations, two columns, two views by EDA), or one text twice, cut off. The teacher is a moving average of the
    student. The queue starts empty, so the first step has nothing to tell apart and a loss of 0; keys of the very row,
    from an earlier epoch, are no negatives.

    Batch: input_ids and attention_mask (n, v, t), of which the first and the last are read; ids and seeds (n,).
    """

    stored: Tensor
    stored_ids: Tensor
    pointer: Tensor

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        cfg: CERTConfig,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder, tokenizer, length, pooling, dropout)
        self.cfg = cfg
        self.head = nn.Sequential(nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, cfg.projection))
        self.teacher = copy.deepcopy(nn.ModuleDict({"encoder": encoder, "head": self.head})).requires_grad_(False)
        self.register_buffer("stored", torch.zeros(cfg.queue, cfg.projection))
        self.register_buffer("stored_ids", torch.full((cfg.queue,), -1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))
        self.new = _NewKeys()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "embedding_std"}; accuracy: of picking the own key."""
        n, ids = len(batch["seeds"]), batch["ids"]
        with self.draws.from_rows(batch["seeds"], 1) if self.training else nullcontext():
            z = self.head(self._pooled(self.encoder, batch, 0, FIRST))  # (n, projection)
        with torch.no_grad():  # the teacher's dropouts find no seeds of their own, and drop nothing
            keys = self.teacher["head"](self._pooled(self.teacher["encoder"], batch, -1, SECOND))
            keys = F.normalize(keys.to(self.stored.dtype), dim=-1)
        stale = (ids[:, None] == self.stored_ids) | (self.stored_ids < 0)  # (n, queue)
        ignore = torch.cat([stale.new_ones(n, n), stale], 1)  # of this batch's keys each row sees its own alone
        own = torch.arange(n, device=z.device)
        loss = info_nce(z, torch.cat([keys, self.stored]), self.cfg.temperature, own, ignore)
        with torch.no_grad():
            cosines = F.normalize(z.to(keys.dtype), dim=-1) @ self.stored.T  # (n, queue)
            right = F.cosine_similarity(z.to(keys.dtype), keys)  # (n,)
            accuracy = (cosines.masked_fill(stale, -2.0).amax(1) < right).to(right.dtype).mean()
            if self.training:
                if self.head[0].weight.grad is None:  # a step begins; the one before may have been skipped
                    self.new = _NewKeys()
                self.new.keys.append(keys)
                self.new.ids.append(ids)
        return {"loss": loss, "accuracy": accuracy, "embedding_std": embedding_std(z.detach())}

    def _pooled(self, encoder: PreTrainedModel, batch: Batch, place: int, stream: int) -> Tensor:
        """One side's vectors, (n, d)."""
        ids, mask = batch["input_ids"][:, place], batch["attention_mask"][:, place]
        h = read_view(encoder, ids, mask, batch["seeds"], self.cfg.view, self.cfg.share, stream)  # (n, t, d)
        return pool(h, mask, self.pooling)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The step's keys of all processes enter the queue in order of rows; the teacher moves towards the student."""
        keys, ids = gather(torch.cat(self.new.keys)), gather(torch.cat(self.new.ids))  # (m, projection), (m,)
        self.new = _NewKeys()
        size, skipped = len(self.stored), max(0, len(keys) - len(self.stored))
        places = (self.pointer + torch.arange(skipped, len(keys), device=keys.device)) % size
        self.stored[places], self.stored_ids[places] = keys[skipped:], ids[skipped:]
        self.pointer.copy_((self.pointer + len(keys)) % size)
        student = {"encoder": self.encoder, "head": self.head}
        for name, part in student.items():
            for old, new in zip(self.teacher[name].parameters(), part.parameters(), strict=True):
                old.lerp_(new, 1 - self.cfg.momentum)
