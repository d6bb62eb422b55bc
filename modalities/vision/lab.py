"""CIE 1976 L*a*b* (D65, 2 degrees) of sRGB pictures, batched on any device: lightness apart from colour.

Autocast stops here: in bf16 a colour would be off by several units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.vision.constants import constant
from objectives.precision import full_precision

# Primaries and constants to the digits that scikit-image and OpenCV use, so that results can be compared with theirs.
_XYZ_FROM_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_RGB_FROM_XYZ = tuple(map(tuple, torch.linalg.inv(torch.tensor(_XYZ_FROM_RGB, dtype=torch.float64)).tolist()))
_WHITE = (0.95047, 1.0, 1.08883)
_LINEAR_BELOW = 0.008856  # where the cube root gives way to a line
_SLOPE, _OFFSET = 7.787, 16 / 116


@full_precision
def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (n, 3, h, w) in [0, 1] -> L in [0, 100], a and b in about [-110, 110], same shape and dtype."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4, rgb / 12.92)
    xyz = _mix(linear, constant(_XYZ_FROM_RGB, rgb)) / _white(rgb)
    f = torch.where(xyz > _LINEAR_BELOW, xyz.clamp(min=0) ** (1 / 3), _SLOPE * xyz + _OFFSET)
    x, y, z = f.unbind(1)  # (n, h, w) each
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@full_precision
def lab_to_rgb(lab: Tensor) -> Tensor:
    """The way back, (n, 3, h, w) -> the same. Colours that sRGB cannot show are clamped, channel by channel."""
    lightness, a, b = lab.unbind(1)  # (n, h, w) each
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, (y - b / 200).clamp(min=0)], 1)  # no negative Z
    xyz = torch.where(f > 0.2068966, f**3, (f - _OFFSET) / _SLOPE) * _white(lab)
    linear = _mix(xyz, constant(_RGB_FROM_XYZ, lab))
    rgb = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0) ** (1 / 2.4) - 0.055, linear * 12.92)
    return rgb.clamp(0, 1)


def paint(grey: Tensor, ab: Tensor) -> Tensor:
    """Colours ab (n, 2, h, w), enlarged, on the lightness of grey pictures (n, 3, height, width) in [0, 1]."""
    fine = F.interpolate(ab, size=grey.shape[-2:], mode="bilinear")  # (n, 2, height, width)
    return lab_to_rgb(torch.cat([rgb_to_lab(grey)[:, :1], fine], 1))


def _mix(images: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix, images)


def _white(like: Tensor) -> Tensor:
    return constant(_WHITE, like)[:, None, None]
