"""Tiles out of the middle of a view, many at once: a grid of squares with gaps, each shifted by a few pixels.

Gap and shift are guards. Where tiles touch, a line that runs on from one into the next gives their places away, and
where they stand still, so does whatever depends on the place in the picture; neither asks what the tiles show.
"""

import torch
from torch import Tensor

from modalities.draws import uniform_on_device

_FLATTEST = 0.02  # deviation below which a tile counts as flat: its noise is not blown up


def require_room(side: int, cells: int, tile: int, gap: int, shift: int = 0) -> None:
    """Raise ValueError where a view of `side` pixels has no room for cells x cells tiles."""
    needed = cells * tile + (cells - 1) * gap + 2 * shift
    if needed > side:
        raise ValueError(
            f"{cells} x {cells} tiles of task.tile {tile} pixels with gaps of {gap} and shifts of {shift} need views "
            f"of {needed} pixels; raise views.side, which is {side}, or make the tiles smaller."
        )


def draw_shifts(seeds: Tensor, count: int, reach: int, stream: int) -> Tensor:
    """Whole pixels from -reach to reach, down and right, for `count` tiles of every row: (n, count, 2) int64."""
    u = uniform_on_device(seeds, 2 * count, stream).unflatten(1, (count, 2))
    return (u * (2 * reach + 1)).long() - reach


def cut_tiles(images: Tensor, cells: int, tile: int, gap: int, shifts: Tensor | None = None) -> Tensor:
    """The grid of cells x cells tiles in the middle of every image, row by row: (n, cells**2, c, tile, tile).

    images (n, c, h, w); shifts int64 (n, cells**2, 2), or (n, cells**2, c, 2) where every channel goes its own way.
    There must be room for them (`require_room`).
    """
    n, c, h, w = images.shape
    device = images.device
    extent = cells * tile + (cells - 1) * gap
    assert extent <= min(h, w), f"{cells} x {cells} tiles of {tile} and gaps of {gap} do not fit into {h} x {w}"
    place = torch.arange(cells, device=device) * (tile + gap)  # (cells,)
    corner = torch.cartesian_prod(place + (h - extent) // 2, place + (w - extent) // 2)  # (cells**2, 2)
    corners = corner[None, :, None]  # (1, cells**2, 1, 2)
    if shifts is not None:
        corners = corners + (shifts if shifts.dim() == 4 else shifts[:, :, None])  # (n, cells**2, 1 or c, 2)
    inside = torch.arange(tile, device=device)
    rows = corners[..., 0, None, None] + inside[:, None]  # (1 or n, cells**2, 1 or c, tile, 1)
    columns = corners[..., 1, None, None] + inside  # (1 or n, cells**2, 1 or c, 1, tile)
    row = torch.arange(n, device=device)[:, None, None, None, None]
    channel = torch.arange(c, device=device)[:, None, None]
    return images[row, channel, rows, columns]


def standardised(tiles: Tensor) -> Tensor:
    """Every channel of every tile to mean 0 and deviation 1/2, the spread of pictures in an encoder's [-1, 1].

    tiles (..., h, w) in [0, 1]. Brightness, contrast and tint, which neighbours share, no longer tell them apart from
    strangers.
    """
    centred = tiles - tiles.mean((-2, -1), keepdim=True)
    deviation = centred.square().mean((-2, -1), keepdim=True).sqrt()
    return 0.5 * centred / deviation.clamp(min=_FLATTEST)


def lay_out(tiles: Tensor, gap: int = 4) -> Tensor:
    """Tiles (n, cells**2, c, s, s) in [0, 1] as one picture each on a grey ground, (n, c, side, side)."""
    n, count, c, s, _ = tiles.shape
    cells = round(count**0.5)
    assert cells**2 == count, f"{count} tiles make no square"
    side = cells * s + (cells + 1) * gap
    canvas = tiles.new_full((n, c, side, side), 0.5)
    for i in range(count):
        top, left = (gap + at * (s + gap) for at in divmod(i, cells))
        canvas[:, :, top : top + s, left : left + s] = tiles[:, i]
    return canvas
