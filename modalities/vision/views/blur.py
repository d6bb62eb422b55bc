"""Gaussian blur as weighted sums of neighbours along each axis."""

import torch
from torch import Tensor

from modalities.vision.views.crop import Taps, combine_rows

_NONE = 0.01  # pixels: neighbours weigh exp(-5000), which is 0


def blur_taps(sigma: Tensor, side: int) -> Taps:
    """What each place of a blurred axis takes from its neighbours: places and weights, (n, side, k), as `crop.taps`.

    As in SimCLR (2002.05709) the kernel spans a tenth of the side. At the border the part of it that is inside counts;
    torchvision reflects the image there.

    Args:
        sigma: in pixels of the view, (n,).
        side: pixels along the axis.
    """
    reach = max(side // 20, 1)
    offset = torch.arange(-reach, reach + 1, device=sigma.device)  # (k,)
    kernel = (-0.5 * (offset / sigma[:, None]).square()).exp()  # (n, k)
    places = torch.arange(side, device=sigma.device)[:, None] + offset  # (side, k)
    inside = (places >= 0) & (places < side)
    weights = kernel[:, None] * inside  # (n, side, k)
    return places.clamp_(0, side - 1).expand(weights.shape), weights.div_(weights.sum(2, keepdim=True))


def blur_chosen(pixels: Tensor, columns: Tensor, chosen: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Blur some rows of a batch, along both axes, in place.

    Args:
        pixels: images that are resampled along one axis, (n, c, side, w).
        columns: what resamples the other, (n, side, w).
        chosen: which rows, bool (n,).
        sigma: in pixels of the view, (n,).
    """
    rows = chosen.nonzero()[:, 0]  # (m,)
    kernel = blur_taps(sigma[rows], pixels.shape[2])
    pixels[rows] = combine_rows(pixels[rows], kernel)
    columns[rows] = combine_rows(columns[rows, None], kernel)[:, 0]
    return pixels, columns


def blur_all(pixels: Tensor, columns: Tensor, chosen: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """`blur_chosen` without asking the device which rows they are: the others get a kernel that changes nothing."""
    kernel = blur_taps(torch.where(chosen, sigma, _NONE), pixels.shape[2])
    return combine_rows(pixels, kernel), combine_rows(columns[:, None], kernel)[:, 0]
