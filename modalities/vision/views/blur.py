"""Gaussian blur as weighted sums of neighbours along each axis."""

import torch
from torch import Tensor

from modalities.vision.views.crop import Taps


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
