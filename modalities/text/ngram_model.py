"""A neural network that reads the last few tokens and says the next one: what `NgramLm` leaves behind.

This file travels with every checkpoint and is all that is needed to load it: `AutoModelForCausalLM.from_pretrained(
folder, trust_remote_code=True)`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class NgramConfig(PretrainedConfig):
    """Shape of a neural n-gram model."""

    model_type = "neural-ngram"

    def __init__(
        self,
        vocab_size: int = 2,
        context: int = 4,
        embedding_size: int = 64,
        hidden_size: int = 128,
        direct: bool = True,
        pad_token_id: int = 0,
        **kwargs: object,
    ) -> None:
        """context: tokens that are read, n - 1 of an n-gram model. direct: whether the embeddings also reach the output
        past the hidden layer. pad_token_id: stands where the document has not begun."""
        self.vocab_size, self.context, self.embedding_size = vocab_size, context, embedding_size
        self.hidden_size, self.direct = hidden_size, direct
        kwargs.setdefault("tie_word_embeddings", False)
        super().__init__(pad_token_id=pad_token_id, **kwargs)


class NgramForCausalLM(PreTrainedModel, GenerationMixin):
    """logits = b + W x + U tanh(d + H x), where x are the embeddings of the last tokens end to end."""

    config_class = NgramConfig
    main_input_name = "input_ids"

    def __init__(self, config: NgramConfig) -> None:
        super().__init__(config)
        wide = config.context * config.embedding_size
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.hidden = nn.Linear(wide, config.hidden_size)
        self.head = nn.Linear(config.hidden_size + wide * config.direct, config.vocab_size)
        self.post_init()
        self.generation_config.use_cache = False  # there is nothing to keep from step to step

    def _init_weights(self, module: nn.Module) -> None:
        """Sums of about unit size into the tanh, and logits of nearly equal size."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02 if module is self.head else module.in_features**-0.5)
            nn.init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Embedding:
        """Of the tokens, (c, e)."""
        return self.embedding

    def get_output_embeddings(self) -> nn.Linear:
        """From features to logits."""
        return self.head

    def features(self, input_ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """What the head reads at each position, (n, t, d).

        input_ids long (n, t). segments (n, t): number of the document of each token, 0 for padding; no token sees
        another document.
        """
        reach = self.config.context - 1
        seen = F.pad(input_ids, (reach, 0), value=self.config.pad_token_id).unfold(1, reach + 1, 1)  # (n, t, context)
        if segments is not None:
            of = F.pad(segments, (reach, 0), value=-1).unfold(1, reach + 1, 1)
            seen = seen.masked_fill(of != segments.unsqueeze(-1), self.config.pad_token_id)
        x = self.embedding(seen).flatten(2)  # (n, t, context * e)
        h = torch.tanh(self.hidden(x))
        return torch.cat([h, x.to(h.dtype)], dim=-1) if self.config.direct else h

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> CausalLMOutput:
        """input_ids long (n, t) -> logits (n, t, c), of the token after each; attention_mask (n, t), 0 at padding."""
        return CausalLMOutput(logits=self.head(self.features(input_ids, attention_mask)))

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object
    ) -> dict[str, Tensor | None]:
        """The last tokens are all that counts."""
        last = slice(-self.config.context, None)
        return {
            "input_ids": input_ids[:, last],
            "attention_mask": None if attention_mask is None else attention_mask[:, last],
        }


NgramConfig.register_for_auto_class()
NgramForCausalLM.register_for_auto_class("AutoModelForCausalLM")
