"""A random policy in the way of RandAugment: Cubuk et al. 2019, arXiv 1909.13719.

Each image draws a few of fourteen operations, with replacement, all of one strength from 0 to 1. Strengths mean what
they mean in torchvision. The geometric operations drawn for an image are folded into one affine resample, which comes
before the others, and fill in grey from outside; elsewhere each would resample by itself, in the order drawn.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.vision.views.colour import luma

POLICY_DRAWS = 2  # for each operation: which, and its sign
Operation = Callable[[Tensor, Tensor], Tensor]


def random_augment(images: Tensor, u: Tensor, strength: float) -> None:
    """Change images (n, 3, side, side) in [0, 1] in place, by draws u (n, POLICY_DRAWS * operations)."""
    names = [*GEOMETRIC, *PHOTOMETRIC, "nothing"]
    steps = u.unflatten(1, (-1, POLICY_DRAWS))  # (n, operations, 2)
    which = (steps[..., 0] * len(names)).long()  # (n, operations)
    signed = torch.where(steps[..., 1] < 0.5, -strength, strength)
    change = change_chosen if images.device.type == "cpu" else change_all
    matrix = torch.eye(3, device=u.device).expand(len(u), 3, 3)
    for step in range(which.shape[1]):
        for index, name in enumerate(GEOMETRIC):
            drawn = (which[:, step] == index)[:, None, None]
            matrix = torch.where(drawn, matrix @ GEOMETRIC[name](signed[:, step]), matrix)
    change(images, (which < len(GEOMETRIC)).any(1), affine, matrix)
    for step in range(which.shape[1]):
        for index, name in enumerate(PHOTOMETRIC, len(GEOMETRIC)):
            change(images, which[:, step] == index, PHOTOMETRIC[name], signed[:, step, None, None, None])


def affine(images: Tensor, matrix: Tensor) -> Tensor:
    """Read images (n, c, side, side) at matrix (n, 3, 3) @ (x, y, 1), where the image spans -1 to 1; grey outside."""
    grid = F.affine_grid(matrix[:, :2], list(images.shape), align_corners=False)
    return F.grid_sample(images - 0.5, grid, align_corners=False).add_(0.5).clamp_(0, 1)


def change_chosen(images: Tensor, chosen: Tensor, operation: Operation, values: Tensor) -> None:
    """Put operation(images, values) in the place of the images (n, c, h, w) that `chosen` (n,) names."""
    rows = chosen.nonzero()[:, 0]
    if len(rows):
        images[rows] = operation(images[rows], values[rows])


def change_all(images: Tensor, chosen: Tensor, operation: Operation, values: Tensor) -> None:
    """`change_chosen` without asking the device which images they are."""
    images.copy_(torch.where(chosen[:, None, None, None], operation(images, values), images))


def _affine_rows(xx: Tensor, xy: Tensor, x1: Tensor, yx: Tensor, yy: Tensor, y1: Tensor) -> Tensor:
    zero = torch.zeros_like(xx)
    return torch.stack([xx, xy, x1, yx, yy, y1, zero, zero, zero + 1], 1).view(-1, 3, 3)


def _move(x: Tensor, y: Tensor) -> Tensor:
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _affine_rows(one, zero, x, zero, one, y)


def _shear(x: Tensor, y: Tensor) -> Tensor:
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _affine_rows(one, x, zero, y, one, zero)


def _rotate(angle: Tensor) -> Tensor:
    c, s, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _affine_rows(c, -s, zero, s, c, zero)


_FARTHEST = 2 * 150 / 331  # of a move, where the image spans 2

# m (n,) in [-1, 1] -> (n, 3, 3)
GEOMETRIC: dict[str, Callable[[Tensor], Tensor]] = {
    "shear x": lambda m: _shear(0.3 * m, 0 * m),
    "shear y": lambda m: _shear(0 * m, 0.3 * m),
    "move x": lambda m: _move(_FARTHEST * m, 0 * m),
    "move y": lambda m: _move(0 * m, _FARTHEST * m),
    "rotate": lambda m: _rotate(math.pi / 6 * m),
}


def _blend(base: Tensor, images: Tensor, m: Tensor) -> Tensor:
    """Between `base` and the images and beyond them: Pillow's ImageEnhance."""
    return torch.lerp(base, images, 1 + 0.9 * m).clamp_(0, 1)


def _smooth(images: Tensor) -> Tensor:
    """Pillow's SMOOTH, which leaves the border as it is."""
    kernel = torch.ones(3, 1, 3, 3, device=images.device) / 13
    kernel[:, :, 1, 1] = 5 / 13
    out = images.clone()
    if min(images.shape[2:]) > 2:
        out[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel, groups=3)
    return out


def _posterise(images: Tensor, m: Tensor) -> Tensor:
    """Keep 8 to 4 bits of each value."""
    step = 2 ** (4 * m.abs()).round()
    return (images * 255).round_().div_(step).floor_().mul_(step).div_(255)


def _autocontrast(images: Tensor, m: Tensor) -> Tensor:
    """Stretch each channel over the whole range."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def _equalise(images: Tensor, m: Tensor) -> Tensor:
    """Make each channel's 256 values equally frequent, as Pillow counts."""
    values = (images * 255).round_().long().flatten(2)  # (n, 3, h*w)
    counts = torch.zeros(*values.shape[:2], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    last = counts.gather(2, values.amax(2, keepdim=True))  # of the brightest value, (n, 3, 1)
    step = (values.shape[2] - last) // 255
    table = (counts.cumsum(2) - counts + step // 2) // step.clamp(min=1)
    equal = table.clamp_(max=255).gather(2, values).view_as(images) / 255
    return torch.where(step[..., None] > 0, equal, images)


# images (n, 3, h, w) in [0, 1], m (n, 1, 1, 1) in [-1, 1] -> the same shape and range
PHOTOMETRIC: dict[str, Operation] = {
    "brightness": lambda x, m: _blend(torch.zeros_like(x), x, m),
    "contrast": lambda x, m: _blend(luma(x).mean((2, 3), keepdim=True).expand_as(x), x, m),
    "saturation": lambda x, m: _blend(luma(x).expand_as(x), x, m),
    "sharpness": lambda x, m: _blend(_smooth(x), x, m),
    "posterise": _posterise,
    "solarise": lambda x, m: torch.where(x < 1 - m.abs(), x, 1 - x),
    "autocontrast": _autocontrast,
    "equalise": _equalise,
}
