"""Descriptors of places as pictures: matching points in one colour, and the descriptors themselves as colours."""

import colorsys

import torch
import torch.nn.functional as F
from torch import Tensor

_REACH = 1  # pixels around the middle of a mark


def marked(views: Tensor, points: Tensor, shown: Tensor) -> Tensor:
    """Views (n, 3, side, side) with a square at each of points (n, k, 2), shares of the side with x first, where shown
    (n, k): the k-th in the k-th colour of every picture."""
    views, (count, side) = views.clone(), (points.shape[1], views.shape[-1])
    middles = (points * side).long().clamp(_REACH, side - 1 - _REACH).tolist()
    for row, (of_row, visible) in enumerate(zip(middles, shown.tolist(), strict=True)):
        for place, ((x, y), seen) in enumerate(zip(of_row, visible, strict=True)):
            if seen:
                colour = views.new_tensor(colorsys.hsv_to_rgb(place / count, 1.0, 1.0))
                square = views[row, :, y - _REACH : y + _REACH + 1, x - _REACH : x + _REACH + 1]
                square.copy_(colour[:, None, None].expand_as(square))
    return views


def as_colours(maps: Tensor, side: int) -> Tensor:
    """Descriptors (n, d, h, w) along their three main directions as red, green and blue: (n, 3, side, side) in [0, 1],
    half of all places of each colour between a quarter and three quarters."""
    rows = maps.movedim(1, -1).flatten(0, -2).double()  # (n*h*w, d)
    rows = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(rows.T @ rows)  # the covariance, up to its scale
    main = F.pad(rows @ directions[:3].T, (0, max(0, 3 - rows.shape[1])))  # (n*h*w, 3)
    low, high = main.sort(0).values[[len(main) // 4, 3 * len(main) // 4]]
    scaled = (main - (low + high) / 2) / (2 * (high - low)).clamp(min=1e-12) + 0.5
    coloured = scaled.clamp(0, 1).to(maps).view(len(maps), *maps.shape[2:], 3).movedim(-1, 1)
    return F.interpolate(coloured, size=side, mode="nearest")
