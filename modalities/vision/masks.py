"""Which pixels of an image are hidden: the three regions of Pathak et al. 2016, arXiv 1604.07379, as batched tensors.

Every function returns bool (n, 1, side, side), true where hidden. A row's mask depends on its seed and `stream` alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import uniform_on_device

_BLOCKS = 4
_BUMPS = 6


def centre(seeds: Tensor, side: int, share: float) -> Tensor:
    """The same square in the middle of every image. seeds (n,) give only the number of rows and the device."""
    hole = max(1, round(side * share**0.5))
    start = (side - hole) // 2
    mask = torch.zeros(len(seeds), 1, side, side, dtype=torch.bool, device=seeds.device)
    mask[:, :, start : start + hole, start : start + hole] = True
    return mask


def blocks(seeds: Tensor, side: int, share: float, stream: int = 0) -> Tensor:
    """Four squares anywhere, which may overlap: together at most `share` of the image."""
    size = max(1, round(side * (share / _BLOCKS) ** 0.5))
    u = uniform_on_device(seeds, 2 * _BLOCKS, stream).view(-1, 2, _BLOCKS, 1)  # (n, row and column, block, 1)
    start = (u * (side - size + 1)).long()
    place = torch.arange(side, device=seeds.device)
    rows, columns = ((place >= start) & (place < start + size)).unbind(1)  # (n, block, side) each
    return (rows[:, :, :, None] & columns[:, :, None, :]).any(1, keepdim=True)


def region(seeds: Tensor, side: int, share: float, stream: int = 0) -> Tensor:
    """A region of arbitrary shape, the `share` of all pixels where smooth noise is highest.

    The paper cuts such shapes out of another data set's segmentations; noise has as many, and needs no data.
    """
    coarse = uniform_on_device(seeds, _BUMPS**2, stream).view(-1, 1, _BUMPS, _BUMPS) - 0.5
    place = torch.arange(side, device=seeds.device)[:, None] / side
    centre = torch.linspace(-0.125, 1.125, _BUMPS, device=seeds.device)
    bumps = torch.exp(-((place - centre) ** 2) / (2 * 0.15**2))  # (side, bump)
    bumps = F.normalize(bumps, dim=1)  # the noise varies as much between two centres as on one
    with torch.autocast(seeds.device.type, enabled=False):  # in half precision pixels would tie for the threshold
        noise = bumps @ coarse @ bumps.T  # (n, 1, side, side)
    hidden = max(1, round(share * side**2))
    threshold = noise.flatten(1).topk(hidden).values[:, -1]  # (n,)
    return noise >= threshold[:, None, None, None]


def widened(mask: Tensor, pixels: int) -> Tensor:
    """`mask` grown by so many pixels on every side, corners included."""
    return F.max_pool2d(mask.float(), 2 * pixels + 1, stride=1, padding=pixels) > 0
