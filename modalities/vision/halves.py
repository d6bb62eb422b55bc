"""Two networks of half the width, one for grey and one for colour, that are published as one ResNet."""

from dataclasses import replace

from torch import nn

from modalities.vision.backbones import ModelConfig, build_encoder


def require_halvable(model: ModelConfig, method: str) -> None:
    """Raise ValueError where `method` cannot halve the encoder."""
    if model.kind != "resnet" or model.start_from:
        raise ValueError(
            f"{method} halves a new ResNet; a ViT or a checkpoint cannot be halved (model.kind {model.kind!r}, "
            f"model.start_from {model.start_from!r}), so choose model.kind resnet and leave model.start_from out."
        )
    if model.width % 2:
        raise ValueError(f"model.width {model.width} is odd, and {method} halves it; choose an even one.")


def build_halves(model: ModelConfig) -> nn.ModuleDict:
    """{"grey": a ResNet for luma, "colour": one for Cb and Cr}, each of half the width.

    Cb and Cr stand for the a and b of CIE Lab, because only what is linear in RGB fits into a first kernel;
    `block_diagonal.side_by_side` makes one network for RGB of the two.
    """
    half = replace(model, width=model.width // 2)
    return nn.ModuleDict({"grey": build_encoder(half, channels=1), "colour": build_encoder(half, channels=2)})
