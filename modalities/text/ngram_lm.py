"""Neural n-gram language model: Bengio, Ducharme, Vincent and Jauvin 2003, Journal of Machine Learning Research 3."""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.backbones import mean_pooled
from modalities.text.gpt import next_tokens
from modalities.text.ngram_model import NgramConfig, NgramForCausalLM
from modalities.text.task import TextTask
from objectives.predictive import linear_cross_entropy


@dataclass(frozen=True)
class NgramLmConfig:
    """Shape of the network."""

    order: int = 6
    """n: the next token is foreseen from the n - 1 before it."""
    embedding: int = 60
    """Width of a token."""
    width: int = 100
    """Width of the hidden layer."""
    direct: bool = True
    """Connect the tokens to the output past the hidden layer too."""

    def __post_init__(self) -> None:
        if self.order < 2:
            raise ValueError(f"ngram.order is {self.order}; it must be at least 2, for there must be a token to read.")
        for name in ("embedding", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"ngram.{name} is {getattr(self, name)}; it must be at least 1.")


class NgramLm(TextTask):
    """Say each next token of a document from the few before it.

    Batch: as `Gpt`'s.
    """

    encoder: NgramForCausalLM

    def __init__(self, cfg: NgramLmConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        assert tokenizer.pad_token_id is not None
        shape = NgramConfig(
            vocab_size=len(tokenizer),
            context=cfg.order - 1,
            embedding_size=cfg.embedding,
            hidden_size=cfg.width,
            direct=cfg.direct,
            **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")},
        )
        self.encoder = NgramForCausalLM(shape)

    @property
    def head(self) -> nn.Linear:
        """From features to logits."""
        return self.encoder.head

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss": nats per token, "count": of tokens foreseen}."""
        total, count = linear_cross_entropy(self.hidden(batch), self.head.weight, next_tokens(batch), self.head.bias)
        return {"loss": total / count.clamp_min(1), "count": count}

    def hidden(self, batch: Batch) -> Tensor:
        """What the head reads of packed documents, (n, t, d)."""
        return self.encoder.features(batch["input_ids"], batch["segments"])

    def encode(self, batch: Batch) -> Tensor:
        """Mean of the hidden layer over the tokens of each text, (n, d)."""
        features = self.encoder.features(batch["input_ids"], batch["attention_mask"])
        return mean_pooled(features[..., : self.encoder.config.hidden_size], batch["attention_mask"])
