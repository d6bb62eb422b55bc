"""What a ViT says of whole images in its class token, and where that token looks: Caron et al. 2021, 2104.14294."""

import torch
from torch import Tensor
from transformers import PreTrainedModel, ViTModel

from modalities.vision.backbones import pooled


def whole(encoder: PreTrainedModel, pixels: Tensor) -> Tensor:
    """The class token of a ViT's last layer; of other encoders, which have none, the mean over places: (n, d).

    pixels (n, channels, height, width) of any size.
    """
    if not isinstance(encoder, ViTModel):
        return pooled(encoder, pixels)
    tokens: Tensor = encoder(pixels, interpolate_pos_encoding=True).last_hidden_state  # (n, 1 + places, d)
    return tokens[:, 0]


@torch.no_grad()
def class_attention(encoder: PreTrainedModel, pixels: Tensor) -> Tensor | None:
    """How the class token of a ViT's last layer spreads its attention over the patches: (n, heads, h, w).

    pixels (n, channels, height, width) of any size that patches tile. What the token pays to itself is left out, so
    maps sum to 1 or less. None for encoders without a class token.
    """
    if not isinstance(encoder, ViTModel):
        return None
    kind = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")  # the fast ones do not tell
    try:
        shares = encoder(pixels, interpolate_pos_encoding=True, output_attentions=True).attentions[-1]
    finally:
        encoder.set_attn_implementation(kind)
    patch = encoder.config.patch_size
    grid = (pixels.shape[-2] // patch, pixels.shape[-1] // patch)
    from_class: Tensor = shares[:, :, 0, 1:]  # (n, heads, h * w)
    return from_class.unflatten(2, grid)
