"""Images as grids of square patches: cutting, hiding at random, and painting back."""

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import uniform_on_device


def cut(images: Tensor, size: int, stride: int) -> Tensor:
    """Patches of size x size pixels, `stride` apart: (n, gh, gw, c, size, size) of images (n, c, h, w).

    Raises:
        ValueError: if the patches do not end where the image does.
    """
    for side in images.shape[-2:]:
        if side < size or (side - size) % stride:
            raise ValueError(
                f"patches of {size} pixels, {stride} apart, do not tile an image of {side} pixels; choose a side of "
                f"{size} plus a multiple of {stride}."
            )
    return images.unfold(2, size, stride).unfold(3, size, stride).permute(0, 2, 3, 1, 4, 5)


def paint(patches: Tensor, stride: int, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The inverse of `cut`, the mean where patches overlap.

    Args:
        patches: (n, gh, gw, c, size, size).
        stride: pixels from one patch to the next.
        chosen: (n, gh, gw) bool, the patches to paint; all if left out.

    Returns:
        (n, c, h, w), 0 where nothing was painted, and (n, 1, h, w) bool, where something was.
    """
    n, gh, gw, _, size, _ = patches.shape
    shown = torch.ones(n, gh, gw, device=patches.device) if chosen is None else chosen
    shown = shown.to(patches)[:, :, :, None, None, None]  # (n, gh, gw, 1, 1, 1)
    area = ((gh - 1) * stride + size, (gw - 1) * stride + size)

    def fold(values: Tensor) -> Tensor:
        columns = values.flatten(3).permute(0, 3, 1, 2).flatten(2)  # (n, c * size * size, gh * gw)
        return F.fold(columns, area, size, stride=stride)

    weight = fold(shown.expand(n, gh, gw, 1, size, size))  # (n, 1, h, w)
    return fold(patches * shown) / weight.clamp(min=1), weight > 0


def shuffled(seeds: Tensor, count: int, stream: int) -> Tensor:
    """A random order of 0 .. count-1 for each row, (n, count) long, the same on every device."""
    # Stable, for two of the 24-bit draws may be equal, and devices break ties in different ways.
    return uniform_on_device(seeds, count, stream).argsort(dim=1, stable=True)


def hidden(seeds: Tensor, count: int, share: float, stream: int) -> Tensor:
    """Which of `count` things to hide, (n, count) bool, equally many in each row: `share` of them, rounded."""
    return shuffled(seeds, count, stream) < round(share * count)


def on_pixels(mask: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """A mask of patches as one of pixels: (n, gh * gw) -> (n, 1, gh * size, gw * size)."""
    squares = mask.unflatten(1, grid)[:, None]  # (n, 1, gh, gw)
    return squares.repeat_interleave(size, 2).repeat_interleave(size, 3)


def sin_cos_positions(grid: int, width: int) -> Tensor:
    """Fixed positions of a square grid as MAE has them, (grid * grid, width).

    A quarter of the width each: sine and cosine of the column, sine and cosine of the row, at frequencies from 1 down
    to 1/10000 (as in Vaswani et al. 2017, arXiv 1706.03762).

    Raises:
        ValueError: if the width is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"sine and cosine positions need a width that is a multiple of 4, got {width}.")
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies  # (grid, width / 4)
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    columns, rows = line.repeat(grid, 1), line.repeat_interleave(grid, 0)
    return torch.cat([columns, rows], dim=1).to(torch.get_default_dtype())
