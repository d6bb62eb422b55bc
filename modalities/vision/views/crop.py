"""Random resized crops (Szegedy et al. 2014, arXiv 1409.4842) of many images as one resample.

A crop, a mirror and a change of size are all linear and separable: every row of a view is a weighted sum of a few rows
of its image, and so for columns. When a crop is larger than the view, more pixels join each sum, as in Pillow, so that
nothing aliases. (`grid_sample` reads four pixels whatever the scale.)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Taps = tuple[Tensor, Tensor]

TRIES = 10
CROP_DRAWS = 2 * TRIES + 2
_RATIO = 4 / 3  # the longest crop, as width by height; the tallest is its inverse


def random_boxes(u: Tensor, height: Tensor, width: Tensor, min_area: float, max_area: float) -> Tensor:
    """Boxes in pixels of their images: left, top, right, bottom, (n, 4).

    Distributed as torchvision's RandomResizedCrop: the area is uniform, the ratio log-uniform from 3/4 to 4/3; what
    does not fit is drawn again, at most ten times, then the middle is taken. Unlike there, corners may lie between
    pixels.

    Args:
        u: uniform draws in [0, 1), (n, CROP_DRAWS).
        height: of the images in pixels, (n,) or ().
        width: likewise.
        min_area: smallest area as a share of the image's.
        max_area: largest.
    """
    height, width = height.to(u).expand(len(u)), width.to(u).expand(len(u))
    area = (min_area + (max_area - min_area) * u[:, :TRIES]) * (height * width)[:, None]  # (n, tries)
    ratio = ((2 * u[:, TRIES : 2 * TRIES] - 1) * math.log(_RATIO)).exp()
    w, h = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (w <= width[:, None]) & (h <= height[:, None])
    first = fits.int().argmax(1, keepdim=True)  # of several maxima the first
    found = fits.any(1)
    w = torch.where(found, w.gather(1, first)[:, 0], torch.minimum(width, height * _RATIO))  # (n,)
    h = torch.where(found, h.gather(1, first)[:, 0], torch.minimum(height, width * _RATIO))
    x, y = u[:, -2:].unbind(1)
    left = torch.where(found, x, 0.5) * (width - w)
    top = torch.where(found, y, 0.5) * (height - h)
    return torch.stack([left, top, left + w, top + h], 1)


def taps(low: Tensor, high: Tensor, size: int, side: int, bicubic: bool) -> Taps:
    """What each of `side` places takes from `size` pixels when low..high is stretched over it: pixels and weights,
    (n, side, k) each. These are the weights of Pillow's `resize(box=...)`, BILINEAR or BICUBIC; they sum to 1.

    Args:
        low: where the box begins, in pixels, (n,).
        high: where it ends; before `low` to mirror.
        size: pixels of the image along this axis.
        side: pixels of the view.
        bicubic: Keys' cubic with a = -1/2 instead of a triangle.
    """
    step = (high - low) / side  # (n,)
    # The kernel is stretched when the view has fewer pixels than the box: this is what filters.
    stretch = step.abs().clamp(min=1)[:, None]  # (n, 1)
    support = 2 if bicubic else 1
    k = min(math.ceil(2 * support * max(1.0, size / side)), size)
    centres = low[:, None] + step[:, None] * (torch.arange(side, device=low.device) + 0.5)  # (n, side)
    first = (centres - support * stretch + 0.5).floor_().clamp_(0, size - k)
    pixels = first[:, :, None] + torch.arange(k, device=low.device)  # (n, side, k)
    distance = (pixels + 0.5 - centres[:, :, None]).abs_().div_(stretch[:, :, None])
    found = _cubic(distance) if bicubic else distance.neg_().add_(1).clamp_(min=0)
    return pixels.long(), found.div_(found.sum(2, keepdim=True))


def matrix(found: Taps, size: int) -> Tensor:
    """Taps as the rows of matrices, (n, side, size)."""
    pixels, values = found
    return values.new_zeros(*values.shape[:2], size).scatter_(2, pixels, values)


def combine_rows(images: Tensor, found: Taps) -> Tensor:
    """Weighted sums of few rows of images (n, c, h, w) each: (n, c, side, w).

    A sum of weighted rows of a table is what an embedding bag is; against a product with a matrix that is nearly all
    zeros it saves nine tenths of the time.
    """
    n, c, h, w = images.shape
    pixels, values = found
    place = torch.arange(n * c, device=images.device).view(n, c, 1, 1) * h + pixels[:, None]  # (n, c, side, k)
    weight = values[:, None].expand_as(place).reshape(-1, values.shape[2])
    table = images.reshape(n * c * h, w)
    return F.embedding_bag(place.view_as(weight), table, per_sample_weights=weight, mode="sum").view(
        n, c, pixels.shape[1], w
    )


def combine_columns(images: Tensor, columns: Tensor) -> Tensor:
    """Weighted sums of columns of images (n, c, h, w) by matrices (n, side, w): (n, c, h, side)."""
    n, c, h, w = images.shape
    return torch.bmm(images.view(n, c * h, w), columns.transpose(1, 2)).view(n, c, h, -1)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' kernel at distances >= 0: two cubics, one that ends at 2 and one that ends at 1, add up to it."""
    outer, inner = (2 - distance).clamp_(min=0), (1 - distance).clamp_(min=0)
    return 0.5 * (outer - 1) * outer * outer + (1 - 2 * inner) * inner * inner
