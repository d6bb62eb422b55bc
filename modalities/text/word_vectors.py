"""One vector for each word: the model that word2vec and GloVe leave behind.

This file travels with every checkpoint and is all that is needed to load it: `AutoModel.from_pretrained(folder,
trust_remote_code=True)`.
"""

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class WordVectorsConfig(PretrainedConfig):
    """Shape of a table of word vectors."""

    model_type = "word-vectors"

    def __init__(self, vocab_size: int = 2, hidden_size: int = 100, pad_token_id: int = 1, **kwargs: object) -> None:
        """vocab_size: words and, last, the unknown word, whose vector is zero and which also pads."""
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(pad_token_id=pad_token_id, **kwargs)


class WordVectors(PreTrainedModel):
    """Word numbers to vectors, whatever stands around them."""

    config_class = WordVectorsConfig
    main_input_name = "input_ids"

    def __init__(self, config: WordVectorsConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """U(-1/2d, 1/2d) as word2vec has it, and zero for the unknown word."""
        if isinstance(module, nn.Embedding):
            d = module.embedding_dim
            nn.init.uniform_(module.weight, -0.5 / d, 0.5 / d)
            if module.padding_idx is not None:
                with torch.no_grad():
                    module.weight[module.padding_idx].zero_()

    def get_input_embeddings(self) -> nn.Embedding:
        """The table, (c + 1, d)."""
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> BaseModelOutput:
        """input_ids long (n, t) -> last_hidden_state (n, t, d); zero where attention_mask (n, t) is."""
        vectors = self.embedding(input_ids)
        if attention_mask is not None:
            vectors = vectors * attention_mask.unsqueeze(-1).to(vectors.dtype)
        return BaseModelOutput(last_hidden_state=vectors)


WordVectorsConfig.register_for_auto_class()
WordVectors.register_for_auto_class("AutoModel")
