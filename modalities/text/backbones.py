"""The Transformers that every text method shares: stock classes, built from a tokenizer and a shape, or loaded."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

Family = Literal["bert", "albert", "roberta", "modernbert", "electra", "gpt2", "llama"]
CAUSAL = ("gpt2", "llama")
"""Model types that read from left to right."""
POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert")
"""Model types that count positions from the padding token's number on."""
_HEADS = {
    "bert": "cls.predictions",
    **dict.fromkeys(POSITIONS_AFTER_PADDING, "lm_head"),
    "albert": "predictions",
    "modernbert": "head decoder",
    "electra": "generator_predictions generator_lm_head",
}
MASKED = tuple(_HEADS)
"""Model types that read in both directions and say hidden tokens."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the encoder, or where to take it from."""

    family: Family = "bert"
    """bert (1810.04805), albert (1909.11942), roberta (1907.11692), modernbert (2412.13663), electra (2003.10555), gpt2
    or llama (2302.13971)."""
    width: int = 128
    """Width of a token."""
    layers: int = 4
    """Transformer layers."""
    heads: int = 4
    """Attention heads."""
    feed_forward: int = 512
    """Width inside a layer's feed-forward part."""
    length: int = 128
    """Tokens that the model reads at once."""
    dropout: float = 0.1
    """Of hidden states and attention; small data wants some, a large corpus none."""
    start_from: str = ""
    """Start from this checkpoint (folder or Hub id) and its tokenizer instead; its shape then counts, not the above."""

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "feed_forward", "length"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} {getattr(self, name)} must be at least 1.")
        if self.width % self.heads:
            raise ValueError(f"model.width {self.width} is not a multiple of model.heads {self.heads}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout is {self.dropout}; it must be at least 0 and below 1.")


def build_config(cfg: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    """The stock configuration of `cfg`'s shape, with the vocabulary and special tokens of `tokenizer`."""
    names = {
        "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        "llama": ("attention_dropout",),
        "modernbert": ("attention_dropout", "embedding_dropout", "mlp_dropout"),
    }.get(cfg.family, ("hidden_dropout_prob", "attention_probs_dropout_prob"))
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": cfg.width,
        "num_hidden_layers": cfg.layers,
        "num_attention_heads": cfg.heads,
        "max_position_embeddings": cfg.length
        + (tokenizer.pad_token_id + 1 if cfg.family in POSITIONS_AFTER_PADDING else 0),
        **dict.fromkeys(names, cfg.dropout),
        **{
            f"{name}_token_id": getattr(tokenizer, f"{name}_token_id")
            for name in ("pad", "bos", "eos", "cls", "sep")
            if cfg.family in ("modernbert", "gpt2", "llama") or name == "pad"
        },
    }
    shape["n_inner" if cfg.family == "gpt2" else "intermediate_size"] = cfg.feed_forward
    if cfg.family == "llama":
        # Tied as in GPT-2 and the small ones of Llama 3.2: most weights of a small model would be its vocabulary's.
        shape |= {"num_key_value_heads": cfg.heads, "tie_word_embeddings": True}
    if cfg.family in ("albert", "electra"):
        shape["embedding_size"] = cfg.width
    if cfg.family == "albert":
        shape["classifier_dropout_prob"] = cfg.dropout
    return AutoConfig.for_model(cfg.family, **shape)


def build_model(
    cfg: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    auto: Any = AutoModel,
    families: Collection[str] | None = None,
    **options: Any,
) -> PreTrainedModel:
    """A stock model in fp32: `auto` is AutoModel, AutoModelForMaskedLM, AutoModelForCausalLM ... New weights come from
    torch's global generator.

    Args:
        families: model types that the method can train, such as `CAUSAL`; all if left out.
        options: of the configuration, such as the number of labels.

    Raises:
        ValueError: for another family, and for a checkpoint that cannot be loaded or does not fit.
    """
    if cfg.start_from:
        model = _load(cfg, tokenizer, auto, options)
        if families and (kind := model.config.model_type) not in families:
            raise ValueError(
                f"model.start_from {cfg.start_from!r} is of family {kind}, which this method with its options cannot "
                f"train; choose one of {', '.join(families)}."
            )
    else:
        if families and cfg.family not in families:
            known = [family for family in families if family in get_args(Family)]
            raise ValueError(
                f"model.family is {cfg.family}, which this method with its options cannot train; choose "
                f"{' or '.join(known)}."
            )
        config = build_config(cfg, tokenizer)
        config.update(options)
        model = auto.from_config(config, dtype=torch.float32)
    if auto is AutoModel:
        freeze_pooler(model)
    return model


def freeze_pooler(model: PreTrainedModel) -> None:
    """Features are pooled from tokens, so no loss reads a model's own pooler, where it has one, and a weight that never
    has a gradient would stop DistributedDataParallel."""
    if isinstance(pooler := getattr(model.base_model, "pooler", None), nn.Module):
        pooler.requires_grad_(False)


def _load(cfg: ModelConfig, tokenizer: PreTrainedTokenizerBase, auto: Any, options: dict[str, Any]) -> PreTrainedModel:
    # Others' weights come as safetensors only, for a pickle runs code. Shapes that differ are to be named below.
    safe: dict[str, Any] = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
    model: PreTrainedModel
    logging.disable_progress_bar()
    try:
        model, info = auto.from_pretrained(cfg.start_from, dtype=torch.float32, **safe, **options)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"model.start_from {cfg.start_from!r} cannot be loaded: {reason}") from error
    finally:
        logging.enable_progress_bar()
    if info["mismatched_keys"]:
        name, there, here = min(info["mismatched_keys"])
        raise ValueError(
            f"model.start_from {cfg.start_from!r} has {name} of shape {tuple(there)}, and {tuple(here)} is needed; "
            "give a checkpoint without a head, or one whose head has as many classes."
        )
    embeddings: Any = model.get_input_embeddings()
    vocabulary: int = embeddings.num_embeddings
    if len(tokenizer) > vocabulary:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} tokens, but model.start_from {cfg.start_from!r} knows {vocabulary}; "
            "take the tokenizer of the checkpoint (tokenizer.start_from)."
        )
    longest = longest_text(model.config)
    if cfg.length > longest:
        raise ValueError(
            f"model.length {cfg.length} is more than the {longest} tokens that model.start_from {cfg.start_from!r} "
            "reads at once; lower it."
        )
    model.train()
    return model


def longest_text(config: PretrainedConfig) -> int:
    """Tokens that a model of this configuration reads at once."""
    places: int = config.max_position_embeddings
    return places - config.pad_token_id - 1 if config.model_type in POSITIONS_AFTER_PADDING else places


def masked_lm_head(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """What turns hidden states (k, d) into scores of the vocabulary (k, c), of a masked language model: the transform
    and the projection, so that both can be had at chosen positions only."""
    kind = model.config.model_type
    if kind not in MASKED:
        raise ValueError(
            f"A model of family {kind} is no masked language model here; choose one of {', '.join(MASKED)}."
        )
    return nn.Sequential(*(model.get_submodule(name) for name in _HEADS[kind].split()))


def mean_pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are not padding: hidden (n, t, d), mask (n, t) -> (n, d)."""
    weights = mask.to(hidden.dtype).unsqueeze(-1)  # (n, t, 1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)
