"""ConSERT: Yan et al. 2021, arXiv 2105.11741."""

from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.cutoff import FIRST, SECOND, View, read_view
from modalities.text.sentence_encoder import Pooling, SentenceTask, pool
from objectives.contrastive import nt_xent
from objectives.diagnostics import alignment, embedding_std
from objectives.gather import gather, rank


@dataclass(frozen=True)
class ConSERTConfig:
    """Options of ConSERT."""

    first: View = "shuffle"
    """The first view: none, token, feature or span cutoff, or shuffle."""
    second: View = "feature"
    """The second view. With none twice, views differ by dropout and by what the collator did to the words."""
    share: float = 0.2
    """Of the tokens or dimensions that a cutoff takes."""
    temperature: float = 0.1
    """Divides the cosines."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"task.share is {self.share}; it must be above 0 and below 1.")
        if self.temperature <= 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0.")


class ConSERT(SentenceTask):
    """Find the other view of each text among all views of the global batch; views are made in embedding space.

    As in the paper, the loss reads the pooled vectors themselves, without a head. Adversarial views are left out.

    Batch: input_ids and attention_mask (n, v, t), one text or two views of it (the first and the last are read);
    seeds (n,).
    """

    coupled = True

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        cfg: ConSERTConfig,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder, tokenizer, length, pooling, dropout)
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "alignment", "embedding_std"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """First and second views, (n, d) each."""
        cfg, seeds = self.cfg, batch["seeds"]
        views = []
        with self.draws.from_rows(seeds, 1) if self.training else nullcontext():
            for place, kind, stream in ((0, cfg.first, FIRST), (-1, cfg.second, SECOND)):
                ids, mask = batch["input_ids"][:, place], batch["attention_mask"][:, place]
                h = read_view(self.encoder, ids, mask, seeds, kind, cfg.share, stream)  # (n, t, d)
                views.append(pool(h, mask, self.pooling))
        return views[0], views[1]

    def loss_from(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Local views against the gathered ones of all processes."""
        others = {"all_z1": gather(z1), "all_z2": gather(z2), "offset": rank() * len(z1)}
        return {
            "loss": nt_xent(z1, z2, self.cfg.temperature, **others),
            "alignment": alignment(z1.detach(), z2.detach()),
            "embedding_std": embedding_std(z1.detach()),
        }
