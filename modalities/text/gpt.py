"""GPT: Radford et al. 2018 and 2019, Language Models are Unsupervised Multitask Learners; with Llama (arXiv 2302.13971)
by `ModelConfig.family`."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.backbones import CAUSAL, ModelConfig, build_model
from modalities.text.packing import PackedRow, packed_inputs
from modalities.text.task import TextTask
from objectives.predictive import IGNORE, linear_cross_entropy, next_token_labels

_ENDS_OF_BRANCHES = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


class Gpt(TextTask):
    """Say each next token of a document from those before it.

    Args:
        model: gpt2 or llama. New weights are normal with 0.02, and those that end a residual branch with
            0.02 / sqrt(2 * layers), as in GPT-2, so that the sum of all branches does not grow with depth.
        tokenizer: saved beside it.

    Batch: input_ids, segments and position_ids (n, t), as `packing.pack(..., causal=True)` makes them. No token sees
    another document of its row, and none is asked to foresee its beginning.
    """

    def __init__(self, model: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        self.encoder = build_model(model, tokenizer, AutoModelForCausalLM, CAUSAL)
        if model.family == "llama" and not model.start_from:  # GPT-2's class does this by itself
            with torch.no_grad():
                for name, weight in self.encoder.named_parameters():
                    if name.endswith(_ENDS_OF_BRANCHES):
                        weight.div_(math.sqrt(2 * model.layers))

    @property
    def head(self) -> nn.Linear:
        """From hidden states to logits."""
        return self.encoder.get_output_embeddings()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss": nats per token, "count": of tokens foreseen}."""
        total, count = linear_cross_entropy(self.hidden(batch), self.head.weight, next_tokens(batch), self.head.bias)
        return {"loss": total / count.clamp_min(1), "count": count}

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states of packed documents, (n, t, d)."""
        hidden: Tensor = self.encoder.base_model(**packed_inputs(self.encoder, batch)).last_hidden_state
        return hidden


def next_tokens(batch: Batch) -> Tensor:
    """The token after each position of packed documents, (n, t); -100 where its document or the row ends."""
    tokens = batch["input_ids"].masked_fill(batch["position_ids"] == 0, IGNORE)
    return next_token_labels(tokens, batch["segments"])


def stack(rows: Sequence[PackedRow], seeds: npt.NDArray[np.uint64] | None = None) -> Batch:
    """Packed rows of one length to a batch; there is nothing random in it, so seeds are not used."""
    names = ("input_ids", "segments", "position_ids")
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in names}


def begin_documents(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Let every text begin with bos, where there is one, and end with nothing, so that a model can be asked how a
    document begins and how a text goes on. The tokenizer itself is changed, and returned."""
    if (bos := tokenizer.bos_token) is not None:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
    return tokenizer


def document_tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[npt.NDArray[np.int64]]:
    """The tokens of each text as `pack(..., causal=True)` lays them out, before they are cut: bos, where there is one,
    the text, and eos. Texts without a token are left out."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return [np.array([*begin, *ids, tokenizer.eos_token_id], dtype=np.int64) for ids in found if ids]
