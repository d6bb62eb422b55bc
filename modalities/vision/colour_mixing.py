"""Networks that see only grey, or only colour, published as networks that take ordinary RGB images.

Grey and colour differences are linear in gamma-coded RGB, and so is the first convolution: a kernel over the mixed
channels is one over R, G and B. Values of -1 to 1 keep their meaning, because the weights of luma sum to one and those
of a colour difference to zero; that also makes the zero padding mean the same in both. (The L of CIE Lab is not linear
in RGB, hence luma instead of L.)
"""

import torch
from torch import Tensor

from modalities.vision.constants import constant

_R, _G, _B = 0.299, 0.587, 0.114  # luma of ITU-R BT.601, as PIL's mode "L"
LUMA = ((_R, _G, _B),)
"""RGB -> Y."""
GREY = LUMA * 3
"""RGB -> Y, Y, Y."""
CHROMA = ((-_R / 1.772, -_G / 1.772, (1 - _B) / 1.772), ((1 - _R) / 1.402, -_G / 1.402, -_B / 1.402))
"""RGB -> Cb, Cr; both from -1 to 1 where RGB is."""

Matrix = tuple[tuple[float, float, float], ...]


def mix(pixels: Tensor, matrix: Matrix) -> Tensor:
    """What a network sees of pixels (n, 3, h, w): (n, rows of the matrix, h, w)."""
    return torch.einsum("kc,nchw->nkhw", constant(matrix, pixels), pixels)


def fold(kernel: Tensor, matrix: Matrix) -> Tensor:
    """First kernel over mixed channels (d, k, h, w) -> the kernel (d, 3, h, w) that does the same to RGB."""
    return (kernel[:, :, None] * constant(matrix, kernel)[:, :, None, None]).sum(1)
