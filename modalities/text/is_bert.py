"""IS-BERT: Zhang et al. 2020, arXiv 2009.12061."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.sentence_encoder import Pooling, SentenceTask, pool
from objectives.diagnostics import embedding_std
from objectives.gather import gather, rank
from objectives.mutual_information import jensen_shannon

_WINDOWS = (1, 3, 5)  # tokens, as in the paper


@dataclass(frozen=True)
class ISBertConfig:
    """Options of IS-BERT."""

    channels: int = 64
    """Features of each of the three windows (1, 3 and 5 tokens); the paper has 256 for BERT-base."""

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"task.channels {self.channels} must be at least 1.")


class ISBert(SentenceTask):
    """Tell from a sentence's vector whether an n-gram is its own or another sentence's (mutual information).

    The paper publishes the mean of the convolutions' outputs. Here the sentence's vector is the encoder's, pooled
    as it is published, through a linear map in training, so that what is published is a stock encoder.

    Batch: input_ids and attention_mask (n, 1, t); seeds (n,).
    """

    coupled = True

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        cfg: ISBertConfig,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder, tokenizer, length, pooling, dropout)
        self.windows = nn.ModuleList(nn.Conv1d(self.width, cfg.channels, size, padding=size // 2) for size in _WINDOWS)
        self.whole = nn.Linear(self.width, cfg.channels * len(_WINDOWS))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "embedding_std"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """N-grams (n, t, c), sentences (n, c) and the mask of the tokens (n, t)."""
        ids, mask = batch["input_ids"][:, 0], batch["attention_mask"][:, 0]
        with self.draws.from_rows(batch["seeds"], 1) if self.training else nullcontext():
            h = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state  # (n, t, d)
        # Zeros behind the text, as the convolutions pad: otherwise an n-gram would depend on the batch's longest text.
        columns = (h * mask[:, :, None].to(h.dtype)).transpose(1, 2)  # (n, d, t)
        local = torch.cat([window(columns).relu() for window in self.windows], 1).transpose(1, 2)  # (n, t, c)
        return local, self.whole(pool(h, mask, self.pooling)), mask

    def loss_from(self, local: Tensor, whole: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Local n-grams against the gathered sentences of all processes."""
        loss = jensen_shannon(local, whole, mask, all_whole=gather(whole), offset=rank() * len(whole))
        return {"loss": loss, "embedding_std": embedding_std(whole.detach())}
