"""A small decoder that the tasks which predict pixels share: from an encoder's feature map back to an image."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.vision.backbones import feature_map
from modalities.vision.batch_norm import with_global_statistics

_NARROWEST = 16


class Decoder(nn.Module):
    """Feature map (n, width, h, w) -> (n, channels, h * factor, w * factor), unbounded values.

    Doubles height and width step by step while halving the channels. Upsampling and then convolving leaves no
    checkerboard, as transposed convolutions and shuffled channels do. Batch norms, because group norms would take away
    how bright a picture is (nearly twice the error after a short training); they are those
    of all processes.

    Args:
        width: channels of the map.
        channels: of the image.
        factor: how many times larger the image is, a power of two of at least 2.
    """

    def __init__(self, width: int, channels: int, factor: int) -> None:
        super().__init__()
        assert _is_power_of_two(factor), f"the factor {factor} is no power of two of at least 2"
        stages: list[nn.Module] = []
        for _ in range(factor.bit_length() - 2):
            narrower = max(width // 2, min(width, _NARROWEST))
            stages += [*_doubled(width, narrower, bias=False), nn.BatchNorm2d(narrower), nn.ReLU()]
            width = narrower
        self.layers = with_global_statistics(nn.Sequential(*stages, *_doubled(width, channels, bias=True)))

    def forward(self, features: Tensor) -> Tensor:
        """(n, width, h, w) -> (n, channels, h * factor, w * factor)."""
        pixels: Tensor = self.layers(features)
        return pixels


def _doubled(width: int, narrower: int, bias: bool) -> list[nn.Module]:
    """Twice the height and width: (n, width, h, w) -> (n, narrower, 2h, 2w)."""
    return [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(width, narrower, 3, padding=1, bias=bias)]


def decoder_for(encoder: PreTrainedModel, side: int, channels: int = 3) -> Decoder:
    """The decoder from the encoder's map of a view back to (n, channels, side, side).

    Raises:
        ValueError: when the view does not hold a power of two of pixels per place.
    """
    width, places, _ = map_shape(encoder, side)
    if side % places or not _is_power_of_two(side // places):
        raise ValueError(
            f"views.side is {side} and the encoder leaves {places} x {places} places of such a view; to predict pixels "
            "take a views.side that is a multiple of the encoder's stride (32 of a ResNet), and of a ViT a "
            "model.patch_size of 2, 4, 8 or 16."
        )
    return Decoder(width, channels, side // places)


@torch.no_grad()
def map_shape(encoder: PreTrainedModel, side: int) -> tuple[int, int, int]:
    """(d, h, w) of what `feature_map` makes of an image of that side, found by trying."""
    weight = next(encoder.parameters())
    was_training = encoder.training
    features = feature_map(encoder.eval(), weight.new_zeros(1, encoder.config.num_channels, side, side))
    encoder.train(was_training)
    _, d, h, w = features.shape
    return d, h, w


def as_image(pixels: Tensor) -> Tensor:
    """From what encoders take back to what is shown: [-1, 1] -> [0, 1]."""
    return ((pixels + 1) / 2).clamp(0, 1)


def _is_power_of_two(factor: int) -> bool:
    return factor >= 2 and factor & (factor - 1) == 0
