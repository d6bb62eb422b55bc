"""The Transformers over raw speech that methods share: stock wav2vec 2.0 and HuBERT, built from a shape or loaded."""

import logging
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    HubertConfig,
    HubertModel,
    PretrainedConfig,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForPreTraining,
)
from transformers.utils import logging as transformers_logging

log = logging.getLogger(__name__)

Kind = Literal["wav2vec2", "hubert"]
_KERNELS, _STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # of the papers: a frame each 20 ms at 16 kHz
_SPEC_AUGMENT = 0.05  # what the stock configurations mask in fine-tuning; 0 would leave out the embedding of the mask
_GROUPS = 16  # of the positional convolution


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the encoder, or where to take it from."""

    norm: Literal["group", "layer"] = "layer"
    """group: one group norm after the first convolution, layers that end in a norm (the papers' base models). It is a
    mean over time, padding included: features are the published ones for recordings that are not padded, alone or
    with others of their length. layer: layer norms after all convolutions, layers that begin with a norm (the large
    ones); padding is then masked."""
    conv_width: int = 64
    """Channels of the seven convolutions that turn 20 ms into a frame; 512 in the papers."""
    width: int = 192
    """Width of a frame in the Transformer, a multiple of 16; 768 (base) and 1024 (large) in the papers."""
    layers: int = 4
    """Transformer layers; 12 and 24 in the papers."""
    heads: int = 4
    """Attention heads; 12 and 16 in the papers."""
    feed_forward: int = 768
    """Width inside a layer's feed-forward part."""
    position_frames: int = 128
    """Frames that the convolution sees which stands for positions; an even number."""
    dropout: float = 0.0
    """Of hidden states, attention and conv features; small data wants some, 0.1 in the papers' base models."""
    layer_drop: float = 0.0
    """Probability that a layer is left out of a step; 0.05 in the papers' base models."""
    start_from: str = ""
    """Start from this checkpoint (folder or Hub id) instead; its shape then counts, not the above."""

    def __post_init__(self) -> None:
        for name in ("conv_width", "width", "layers", "heads", "feed_forward", "position_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; it must be at least 1.")
        for name, factor in (("model.heads", self.heads), ("the groups of its positional convolution", _GROUPS)):
            if self.width % factor:
                raise ValueError(f"model.width {self.width} is not a multiple of {factor}, {name}.")
        if self.position_frames % 2:
            raise ValueError(f"model.position_frames is {self.position_frames}; it must be an even number.")
        for name in ("dropout", "layer_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; it must be at least 0 and below 1.")


BASE = ModelConfig("group", 512, 768, 12, 12, 3072, dropout=0.1, layer_drop=0.05)
"""The base model of both papers: 95 million weights."""


def build_config(cfg: ModelConfig, kind: Kind, **more: Any) -> PretrainedConfig:
    """The stock configuration of `cfg`'s shape. more: further options of it, such as the size of the codebook."""
    dropouts = ("hidden_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout")
    if kind == "wav2vec2":
        dropouts = (*dropouts, "feat_quantizer_dropout")
    large = cfg.norm == "layer"
    options = {
        "hidden_size": cfg.width,
        "num_hidden_layers": cfg.layers,
        "num_attention_heads": cfg.heads,
        "intermediate_size": cfg.feed_forward,
        "conv_dim": [cfg.conv_width] * len(_KERNELS),
        "conv_kernel": list(_KERNELS),
        "conv_stride": list(_STRIDES),
        "conv_bias": large,
        "feat_extract_norm": cfg.norm,
        "do_stable_layer_norm": large,
        "num_conv_pos_embeddings": cfg.position_frames,
        "num_conv_pos_embedding_groups": _GROUPS,
        "mask_time_prob": _SPEC_AUGMENT,
        "layerdrop": cfg.layer_drop,
        "activation_dropout": 0.0,
        **dict.fromkeys(dropouts, cfg.dropout),
    }
    return (Wav2Vec2Config if kind == "wav2vec2" else HubertConfig)(**options, **more)


def build_model(cfg: ModelConfig, kind: Kind = "wav2vec2", **more: Any) -> PreTrainedModel:
    """`Wav2Vec2ForPreTraining` or `HubertModel` in fp32, in training mode. New weights come from torch's global
    generator.

    Args:
        more: further options of the stock configuration; a checkpoint keeps its own.

    Raises:
        ValueError: for a checkpoint that cannot be loaded, is of another kind or lacks weights of the encoder. Heads
            that it lacks are new, and named in the log.
    """
    stock: Any = Wav2Vec2ForPreTraining if kind == "wav2vec2" else HubertModel
    if not cfg.start_from:
        model: PreTrainedModel = stock(build_config(cfg, kind, **more))
        return model
    return load_checkpoint(stock, checkpoint_config(cfg.start_from, kind), cfg.start_from).train()


def checkpoint_config(name: str, *kinds: str) -> PretrainedConfig:
    """The configuration of a checkpoint, such that its model has an embedding of what is hidden.

    Raises:
        ValueError: where there is none, and for what is no plain model of one of `kinds`.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:  # ValueError: it does not say of which type the model is
        raise _not_loaded(name, error) from error
    if config.model_type not in kinds:
        needed = " or ".join(kinds)
        raise ValueError(
            f"model.start_from {name!r} is of type {config.model_type}; this method needs one of {needed}."
        )
    # Parts that the forward pass of `frame_encoder` does not have.
    for extra in ("add_adapter", "adapter_attn_dim", "conv_pos_batch_norm"):
        if getattr(config, extra, None):
            raise ValueError(f"model.start_from {name!r} has {extra} set; take a checkpoint without.")
    config.mask_time_prob = config.mask_time_prob or _SPEC_AUGMENT
    return config


def load_checkpoint(stock: Any, config: PretrainedConfig, name: str) -> PreTrainedModel:
    """The stock class with the weights of a checkpoint, in fp32. Heads that it lacks are new, and named in the log.

    Raises:
        ValueError: where it cannot be read or lacks weights of the encoder.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # it would list every weight, and heads that are not wanted
    try:
        # Others' weights come as safetensors only, for a pickle runs code.
        safe = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        model, info = stock.from_pretrained(name, config=config, **safe)
    except OSError as error:
        raise _not_loaded(name, error) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
    # The embedding of what is hidden is missing from checkpoints that nothing was hidden from.
    missing = sorted(key for key in info["missing_keys"] if key.rpartition(".")[2] != "masked_spec_embed")
    encoder = [key for key in missing if model.base_model is model or key.startswith(f"{model.base_model_prefix}.")]
    if encoder:
        raise ValueError(f"model.start_from {name!r} lacks {encoder[0]} and {len(encoder) - 1} other weights.")
    if missing:
        heads = ", ".join(sorted({key.partition(".")[0] for key in missing}))
        log.warning("model.start_from %r has no %s: these parts begin from new weights.", name, heads)
    loaded: PreTrainedModel = model
    return loaded


def _not_loaded(name: str, error: Exception) -> ValueError:
    return ValueError(f"model.start_from {name!r} cannot be loaded: {str(error).splitlines()[0]}")


def build_feature_extractor(config: PretrainedConfig, rate: int) -> Wav2Vec2FeatureExtractor:
    """What makes input of samples: zero mean and unit variance, and an attention mask where the model wants one.

    For models with a group norm, which want none, it takes padding for sound: give it recordings one by one."""
    masked = masks_padding(config)
    return Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=True, return_attention_mask=masked)


def masks_padding(config: PretrainedConfig) -> bool:
    """Whether padding changes no feature. It does where a group norm takes its mean over all time."""
    return getattr(config, "feat_extract_norm", "layer") == "layer"


def frames_of(config: PretrainedConfig, lengths: Tensor) -> Tensor:
    """Frames of so many samples, at least 1: the same shape, int64."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
    return lengths.clamp(min=1)


def hop_of(config: PretrainedConfig) -> int:
    """Samples from one frame to the next."""
    return math.prod(config.conv_stride)


def samples_of(config: PretrainedConfig, frames: int) -> int:
    """The fewest samples that make so many frames: 400 for the first, 320 for each further one."""
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        frames = (frames - 1) * stride + kernel
    return frames
