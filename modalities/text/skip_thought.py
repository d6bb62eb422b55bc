"""Skip-thought: Kiros et al. 2015, arXiv 1506.06726."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.sentence_encoder import Pooling, SentenceTask
from objectives.predictive import linear_cross_entropy, next_token_labels


@dataclass(frozen=True)
class SkipThoughtConfig:
    """Options of Skip-thought."""

    decoder_width: int = 256
    """Width of the two recurrent decoders."""

    def __post_init__(self) -> None:
        if self.decoder_width < 1:
            raise ValueError(f"task.decoder_width {self.decoder_width} must be at least 1.")


class SkipThought(SentenceTask):
    """Write the previous and the next sentence, token by token, from the vector of the one between.

    As in the paper, the two decoders are GRUs of their own over shared word vectors and a shared vocabulary matrix,
    and see the sentence's vector at every step; it starts them, too. Here the encoder is a Transformer, whose word
    vectors are the decoders' as well, before and (through a linear map) after.

    Batch: input_ids and attention_mask (n, 3, t), the previous sentence, the one that is encoded, and the next;
    seeds (n,).
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        cfg: SkipThoughtConfig,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder, tokenizer, length, pooling, dropout)
        words = encoder.get_input_embeddings().weight
        self.starts = nn.ModuleList(nn.Linear(self.width, cfg.decoder_width) for _ in range(2))
        self.decoders = nn.ModuleList(
            nn.GRU(words.shape[1] + self.width, cfg.decoder_width, batch_first=True) for _ in range(2)
        )
        self.to_words = nn.Linear(cfg.decoder_width, words.shape[1])
        self.bias = nn.Parameter(words.new_zeros(len(words)))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "count"}: nats per token, and tokens."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        between = {"input_ids": ids[:, 1:2], "attention_mask": mask[:, 1:2], "seeds": batch["seeds"]}
        sentence = self.embed_texts(between, drop=self.training)[:, 0]  # (n, d)
        states = [self._decode(side, sentence, ids[:, 2 * side]) for side in range(2)]
        hidden = self.to_words(torch.cat(states))  # (2n, t, d)
        labels = torch.cat([next_token_labels(ids[:, 2 * side], mask[:, 2 * side]) for side in range(2)])  # (2n, t)
        table = self.encoder.get_input_embeddings().weight
        total, count = linear_cross_entropy(hidden, table, labels, self.bias)
        return {"loss": total / count.clamp_min(1), "count": count}

    def _decode(self, side: int, sentence: Tensor, ids: Tensor) -> Tensor:
        """States of the decoder of the previous (0) or next (1) sentence over its tokens, (n, t, decoder width)."""
        words = self.encoder.get_input_embeddings()(ids)  # (n, t, d)
        seen = torch.cat([words, sentence[:, None].expand(-1, ids.shape[1], -1).to(words.dtype)], 2)
        start = self.starts[side](sentence).tanh()[None]  # (1, n, decoder width)
        return self.decoders[side](seen, start)[0]
