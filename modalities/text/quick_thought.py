"""Quick-thought: Logeswaran and Lee 2018, arXiv 1803.02893."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.sentence_encoder import Pooling, SentenceTask
from objectives.contrastive import info_nce
from objectives.diagnostics import embedding_std
from objectives.gather import gather, rank


@dataclass(frozen=True)
class QuickThoughtConfig:
    """Options of Quick-thought."""

    temperature: float = 0.05
    """Divides the cosines between a sentence and its candidates."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0.")


class QuickThought(SentenceTask):
    """Find the sentence that follows, and the one that went before, among those of the global batch.

    The paper trains two recurrent encoders, scores by plain dot products and concatenates both for use. A published
    folder holds one encoder: here both sides share it, and two linear heads, which are not published, tell a sentence
    from what may follow it. Scores are cosines, which small batches of a Transformer want.

    Batch: input_ids and attention_mask (n, 2, t), a sentence and the one after it; seeds (n,).
    """

    coupled = True

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        cfg: QuickThoughtConfig,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder, tokenizer, length, pooling, dropout)
        self.this_head, self.next_head = nn.Linear(self.width, self.width), nn.Linear(self.width, self.width)
        for head in (self.this_head, self.next_head):  # so that the first scores are the encoder's own
            nn.init.eye_(head.weight)
            nn.init.zeros_(head.bias)
        self.temperature = cfg.temperature

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "embedding_std"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Sentences (n, d), those that follow (n, d), and what they say, as numbers (n, 2)."""
        h = self.embed_texts(batch, drop=self.training)  # (n, 2, d)
        wording = fingerprints(batch["input_ids"], batch["attention_mask"])  # (n, 2)
        return self.this_head(h[:, 0]), self.next_head(h[:, 1]), wording

    def loss_from(self, this: Tensor, following: Tensor, wording: Tensor) -> dict[str, Tensor]:
        """Local rows against the gathered ones of all processes, in both directions.

        A candidate in the words of the sentence itself (the paper leaves the diagonal out), or of its right answer, is
        no fair negative.
        """
        n = len(this)
        own = torch.arange(n, device=this.device) + rank() * n
        all_wording = gather(wording)  # (m, 2)
        losses = []
        for queries, keys, side in ((this, following, 1), (following, this, 0)):
            others = all_wording[None, :, side]  # (1, m)
            ignore = (wording[:, :1] == others) | (wording[:, 1:] == others)  # (n, m)
            losses.append(info_nce(queries, gather(keys), self.temperature, own, ignore))
        return {"loss": torch.stack(losses).mean(), "embedding_std": embedding_std(this.detach())}


def fingerprints(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Equal numbers for equal texts, however they are padded at the end: (..., t) long -> (...) long."""
    powers = torch.full_like(input_ids[..., :1, :], 6364136223846793005).cumprod(-1)  # wraps around, and stays odd
    return ((input_ids + 1) * attention_mask * powers).sum(-1)
