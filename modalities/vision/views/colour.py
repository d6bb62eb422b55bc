"""Brightness, contrast, saturation, hue and grey as one affine map of colours per image; solarising.

Against torchvision's ColorJitter, whose factors are drawn alike, three things differ. Hue turns the colours around the
grey axis (a rotation in YIQ, which keeps the luma) where torchvision turns the hue of HSV, because a rotation is a
matrix. The order is always brightness, contrast, saturation, hue. And values are cut to [0, 1] once, at the end, not
after each step.
"""

import math

import torch
from torch import Tensor

from modalities.vision.constants import Numbers, constant

COLOUR_DRAWS = 6
_LUMA = (0.299, 0.587, 0.114)
_YIQ = torch.tensor([_LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
_QUARTER = torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
_GREY = torch.tensor(_LUMA, dtype=torch.float64).expand(3, 3)  # colour to grey


def _numbers(matrix: Tensor) -> Numbers:
    return tuple(map(tuple, matrix.tolist()))


_EYE = _numbers(torch.eye(3))
_CHROMA = _numbers(torch.eye(3, dtype=torch.float64) - _GREY)  # colour to what distinguishes it from grey
_TURN = _numbers(torch.linalg.inv(_YIQ) @ _QUARTER @ _YIQ)  # the same, a quarter of the circle of hues on


def luma(colours: Tensor) -> Tensor:
    """Brightness of colours (n, 3, ...), ITU-R BT.601: (n, 1, ...)."""
    r, g, b = colours.split(1, 1)
    return _LUMA[0] * r + _LUMA[1] * g + _LUMA[2] * b


def factors(
    u: Tensor, jitter: float, brightness: float, contrast: float, saturation: float, hue: float, grey: float
) -> Tensor:
    """Draws (n, COLOUR_DRAWS) -> factors of brightness, contrast and saturation, and turn of hue in radians: (n, 4).

    Factors lie in [max(0, 1 - strength), 1 + strength], hue in [-hue, hue] turns, each with probability `jitter`, else
    they change nothing. Saturation is 0 with probability `grey`, jittered or not.
    """
    columns = []
    for draw, strength in zip(u[:, :3].unbind(1), (brightness, contrast, saturation), strict=True):
        low = max(0.0, 1 - strength)
        columns.append(torch.where(u[:, 4] < jitter, low + (1 + strength - low) * draw, 1.0))
    columns[2] = torch.where(u[:, 5] < grey, 0.0, columns[2])
    columns.append(torch.where(u[:, 4] < jitter, 2 * math.pi * hue * (2 * u[:, 3] - 1), 0.0))
    return torch.stack(columns, 1)


def recolour(images: Tensor, found: Tensor) -> Tensor:
    """Apply `factors` (n, 4) to images (n, 3, h, w) in [0, 1]. The result may leave that range.

    Contrast moves values away from the image's mean luma. Luma passes saturation and hue unchanged, so that all of it
    is  gain * (grey + saturation * (cos * chroma + sin * turned chroma)) + offset.
    """
    brightness, contrast, saturation, hue = found[:, :, None, None].unbind(1)  # (n, 1, 1) each
    eye, chroma, turn = (constant(matrix, images) for matrix in (_EYE, _CHROMA, _TURN))
    matrix = eye + (saturation * hue.cos() - 1) * chroma + saturation * hue.sin() * turn  # (n, 3, 3)
    flat = images.flatten(2)  # (n, 3, h*w)
    offset = (1 - contrast) * brightness * luma(flat.mean(2, keepdim=True))  # (n, 1, 1)
    return torch.bmm(brightness * contrast * matrix, flat).add_(offset).view_as(images)


def solarise(images: Tensor, chosen: Tensor) -> Tensor:
    """Turn the values of images (n, 3, h, w) from 1/2 up into their negatives, where `chosen` (n,) says so."""
    return torch.where(chosen[:, None, None, None], torch.minimum(images, 1 - images), images)
