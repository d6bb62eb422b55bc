"""The encoders that every vision method shares, stock ResNets, ViTs and ConvNeXts, and how features leave them."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    CLIPImageProcessorPil,
    ConvNextConfig,
    ConvNextModel,
    PretrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from modalities.vision.batch_norm import with_global_statistics

_CONVOLUTIONAL = (ResNetModel, ConvNextModel)
_VIT_SHAPE = (
    "num_channels",
    "image_size",
    "patch_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layer_norm_eps",
    "qkv_bias",
    "initializer_range",
)


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the encoder, or where to take it from."""

    kind: Literal["resnet", "vit", "convnext"] = "resnet"
    """resnet (1512.03385), vit (2010.11929), or convnext (2201.03545), which has layer norms and no batch norm."""
    image_size: int = 64
    """Height and width of the images that the published encoder is given, in pixels."""
    width: int = 32
    """ResNet and ConvNeXt: channels of the first stage, doubled in each of the next. ViT: width of a token."""
    depth: int = 1
    """ResNet and ConvNeXt: blocks in each of its four or three stages. ViT: layers."""
    patch_size: int = 8
    """ViT: height and width of a patch in pixels."""
    heads: int = 4
    """ViT: attention heads."""
    channels_last: bool = False
    """Keep maps in memory with their channels last: convolutions are faster so, on CPUs and on GPUs with tensor cores;
    results differ by rounding alone."""
    start_from: str = ""
    """Start from this checkpoint (folder or Hub id) instead; its kind and shape then count, not the above. A ViT's
    positions are for images of one size, which image_size must name."""

    def __post_init__(self) -> None:
        for name in ("image_size", "width", "depth", "patch_size", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} {getattr(self, name)} must be at least 1.")
        if self.kind == "vit" and self.image_size % self.patch_size:
            raise ValueError(
                f"model.image_size {self.image_size} is not a multiple of model.patch_size {self.patch_size}."
            )
        if self.kind == "vit" and self.width % self.heads:
            raise ValueError(f"model.width {self.width} is not a multiple of model.heads {self.heads}.")


def build_encoder(cfg: ModelConfig, channels: int = 3) -> PreTrainedModel:
    """A `ResNetModel`, `ViTModel` or `ConvNextModel` whose weights come from torch's global generator, or a checkpoint.

    Batch norms take their statistics over all processes; saved folders hold the stock classes all the same.

    Raises:
        ValueError: if `start_from` holds another kind of model, or a ViT for images of another size.
    """
    if cfg.start_from:
        encoder = _load(cfg)
    elif cfg.kind == "resnet":
        encoder = ResNetModel(_resnet_config(cfg, channels))
    elif cfg.kind == "convnext":
        encoder = ConvNextModel(_convnext_config(cfg, channels))
    else:
        encoder = ViTModel(vit_config(cfg, channels), add_pooling_layer=False)
    if isinstance(encoder, ConvNextModel):
        # It belongs to the stock pooler_output. Features are taken before it, and a weight without a gradient would
        # stop DistributedDataParallel.
        encoder.layernorm.requires_grad_(False)
    if cfg.channels_last:
        encoder = encoder.to(memory_format=torch.channels_last)  # pixels follow the first kernel
    return with_global_statistics(encoder.train())


def _load(cfg: ModelConfig) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(cfg.start_from)
    if config.model_type not in ("resnet", "vit", "convnext"):
        raise ValueError(
            f"model.start_from {cfg.start_from} holds a {config.model_type}; give a ResNet, ViT or ConvNeXt."
        )
    without = {}
    if config.model_type == "vit":
        require_image_size(config, cfg)
        without = {"add_pooling_layer": False}  # a pooler would be one more weight without a gradient
    return AutoModel.from_pretrained(cfg.start_from, dtype=torch.float32, **without)


def require_image_size(found: PretrainedConfig, cfg: ModelConfig) -> None:
    """Raise ValueError where a checkpoint has positions for other images than the published processor will make."""
    if found.image_size != cfg.image_size:
        raise ValueError(
            f"model.start_from {cfg.start_from} has positions for images of {found.image_size} pixels but "
            f"model.image_size is {cfg.image_size}; set model.image_size {found.image_size}."
        )


def _resnet_config(cfg: ModelConfig, channels: int) -> ResNetConfig:
    return ResNetConfig(
        num_channels=channels,
        embedding_size=cfg.width,
        hidden_sizes=[cfg.width * 2**stage for stage in range(4)],
        depths=[cfg.depth] * 4,
        layer_type="basic",
    )


def _convnext_config(cfg: ModelConfig, channels: int) -> ConvNextConfig:
    """Three stages, which leave one place of every 16 x 16 pixels: a fourth would leave none of a patch of that size.

    Without layer scale, whose 1e-6 is meant for nets of dozens of blocks and would keep three blocks shut for most of
    a short run.
    """
    return ConvNextConfig(
        num_channels=channels,
        num_stages=3,
        hidden_sizes=[cfg.width * 2**stage for stage in range(3)],
        depths=[cfg.depth] * 3,
        layer_scale_init_value=0.0,
    )


def vit_config(cfg: ModelConfig, channels: int = 3) -> ViTConfig:
    """The shape of a ViT as `transformers` wants it."""
    return ViTConfig(
        num_channels=channels,
        image_size=cfg.image_size,
        patch_size=cfg.patch_size,
        hidden_size=cfg.width,
        num_hidden_layers=cfg.depth,
        num_attention_heads=cfg.heads,
        intermediate_size=4 * cfg.width,
    )


def vit_shape(config: PretrainedConfig) -> dict[str, Any]:
    """What the config of a ViT, or of a model that is one and more, says of the ViT."""
    return {name: getattr(config, name) for name in _VIT_SHAPE}


def build_image_processor(cfg: ModelConfig) -> CLIPImageProcessorPil:
    """What is published with the encoder: short side to `image_size`, the middle cut out, values from -1 to 1."""
    side = {"height": cfg.image_size, "width": cfg.image_size}
    half = [0.5, 0.5, 0.5]
    return CLIPImageProcessorPil(
        size={"shortest_edge": cfg.image_size}, crop_size=side, image_mean=half, image_std=half, resample=3
    )


def normalise(images: Tensor) -> Tensor:
    """From [0, 1] to the [-1, 1] that encoders take, as `build_image_processor` does."""
    return images * 2 - 1


def feature_map(encoder: PreTrainedModel, pixels: Tensor) -> Tensor:
    """The last layer in its places: (n, d, h, w). pixels (n, channels, height, width) of any size."""
    return _maps(encoder, pixels, _states(encoder, pixels))[-1]


def pooled(encoder: PreTrainedModel, pixels: Tensor) -> Tensor:
    """Features of whole images, (n, d): the mean over places (of a ViT: over patches, not the class token)."""
    return feature_map(encoder, pixels).mean((2, 3))


def layers(encoder: PreTrainedModel, pixels: Tensor) -> dict[str, Tensor]:
    """Mean over places of every stage of a convolutional net or layer of a ViT, {name: (n, d)}, the last one last; of a
    ViT before them "class token", as it leaves the last layer."""
    states = _states(encoder, pixels, inner=True)
    name = "stage" if isinstance(encoder, _CONVOLUTIONAL) else "layer"
    means = {f"{name} {i}": found.mean((2, 3)) for i, found in enumerate(_maps(encoder, pixels, states), 1)}
    return means if isinstance(encoder, _CONVOLUTIONAL) else {"class token": states[-1][:, 0], **means}


def width_of(encoder: PreTrainedModel) -> int:
    """d of `pooled`."""
    config = encoder.config
    return int(config.hidden_sizes[-1] if isinstance(encoder, _CONVOLUTIONAL) else config.hidden_size)


def require_side(encoder: PreTrainedModel, side: int, option: str) -> None:
    """Raise ValueError where images of `side` pixels, as `option` asks for, leave the encoder without any place."""
    if isinstance(encoder, ResNetModel):
        return  # its kernels reach over the edge
    least = int(encoder.config.patch_size)
    if isinstance(encoder, ConvNextModel):
        least *= 2 ** (len(encoder.config.hidden_sizes) - 1)
    if side < least:
        raise ValueError(
            f"{option} is {side}, but a {type(encoder).__name__} of this shape needs images of {least} pixels or more; "
            "raise it."
        )


def _states(encoder: PreTrainedModel, pixels: Tensor, inner: bool = False) -> list[Tensor]:
    """What leaves the last layer, or every one: maps (n, d, h, w), or of a ViT tokens (n, t, d)."""
    if isinstance(encoder, _CONVOLUTIONAL):
        out = encoder(pixels, output_hidden_states=inner)
        return list(out.hidden_states[1:]) if inner else [out.last_hidden_state]
    size = encoder.config.image_size
    other = tuple(pixels.shape[-2:]) != ((size, size) if isinstance(size, int) else tuple(size))
    out = encoder(pixels, output_hidden_states=inner, interpolate_pos_encoding=other)
    # The last hidden state has passed the final norm, the ones inside have not.
    return [*out.hidden_states[1:-1], out.last_hidden_state] if inner else [out.last_hidden_state]


def _maps(encoder: PreTrainedModel, pixels: Tensor, states: list[Tensor]) -> list[Tensor]:
    if isinstance(encoder, _CONVOLUTIONAL):
        return states
    patch = encoder.config.patch_size
    grid = (pixels.shape[-2] // patch, pixels.shape[-1] // patch)
    first = states[0].shape[1] - grid[0] * grid[1]  # class and other tokens in front of the patches
    return [state[:, first:].transpose(1, 2).unflatten(2, grid) for state in states]


def plain_vit(source: PreTrainedModel) -> ViTModel:
    """A `ViTModel` on the weights of a model that has the same ones and more (a mask token, removal of patches).

    The weights are shared, not copied, and none is drawn: no random number is used up.
    """
    with torch.device("meta"):
        vit = ViTModel(ViTConfig(**vit_shape(source.config)), add_pooling_layer=False)
    weights = {name: value for name, value in source.state_dict().items() if name != "embeddings.mask_token"}
    vit.load_state_dict(weights, assign=True)
    vit.embeddings.position_embeddings.requires_grad_(source.embeddings.position_embeddings.requires_grad)
    return vit.train(source.training)
