"""Tiles against slow cutting, and the guards that are arithmetic."""

import pytest
import torch
from torch import Tensor

from modalities.vision.tiles import cut_tiles, draw_shifts, lay_out, require_room, standardised

SEEDS = torch.arange(500) * 7919


def pictures(n: int = 4, side: int = 32) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def cut_slowly(images: Tensor, cells: int, tile: int, gap: int, shifts: Tensor) -> Tensor:
    """One slice after another; shifts (n, cells**2, c, 2) down and right."""
    start = (images.shape[-1] - cells * tile - (cells - 1) * gap) // 2
    found = torch.empty(len(images), cells**2, 3, tile, tile)
    for row in range(len(images)):
        for cell in range(cells**2):
            for channel in range(3):
                down, right = shifts[row, cell, channel].tolist()
                top = start + cell // cells * (tile + gap) + down
                left = start + cell % cells * (tile + gap) + right
                found[row, cell, channel] = images[row, channel, top : top + tile, left : left + tile]
    return found


@pytest.mark.parametrize(("cells", "tile", "gap", "reach"), [(3, 8, 2, 2), (2, 16, 0, 0), (2, 9, 3, 5), (3, 7, 1, 4)])
def test_tiles_are_slices(cells: int, tile: int, gap: int, reach: int) -> None:
    images = pictures()
    shifts = draw_shifts(SEEDS[:4], cells**2, reach, 1)  # (n, cells**2, 2)
    every = shifts[:, :, None].expand(-1, -1, 3, -1)
    wanted = cut_slowly(images, cells, tile, gap, every)
    assert torch.equal(cut_tiles(images, cells, tile, gap, shifts), wanted)
    if reach:  # the broken twin: right and down exchanged
        assert not torch.equal(cut_tiles(images, cells, tile, gap, shifts.flip(-1)), wanted)
    else:
        assert torch.equal(cut_tiles(images, cells, tile, gap), wanted)


def test_every_channel_may_go_its_own_way() -> None:
    images = pictures()
    apart = draw_shifts(SEEDS[:4], 27, 2, 1).unflatten(1, (9, 3))
    wanted = cut_slowly(images, 3, 8, 2, apart)
    assert torch.equal(cut_tiles(images, 3, 8, 2, apart), wanted)
    assert not torch.equal(cut_tiles(images, 3, 8, 2, apart[:, :, 0]), wanted)


def test_shifts_fill_their_range_and_belong_to_their_row() -> None:
    shifts = draw_shifts(SEEDS, 9, 2, 1)
    counts = torch.bincount((shifts + 2).flatten(), minlength=5)
    assert shifts.shape == (500, 9, 2) and len(counts) == 5
    assert (counts / counts.sum() - 0.2).abs().max() < 0.017  # 4 standard errors
    assert torch.equal(draw_shifts(SEEDS[7:8], 9, 2, 1), shifts[7:8])
    assert not torch.equal(draw_shifts(SEEDS[7:8], 9, 2, 2), shifts[7:8])
    assert not draw_shifts(SEEDS, 4, 0, 1).any()


def test_room_is_checked_to_the_pixel() -> None:
    require_room(32, 3, 8, 2, 2)
    images = pictures(1)
    for reach in (-2, 2):  # the farthest that fits: no index runs out of the view or around its edge
        shifts = torch.full((1, 9, 2), reach)
        every = shifts[:, :, None].expand(-1, -1, 3, -1)
        assert torch.equal(cut_tiles(images, 3, 8, 2, shifts), cut_slowly(images, 3, 8, 2, every))
    with pytest.raises(ValueError, match=r"3 x 3 tiles of task.tile 8 .* need views of 32 pixels; .* which is 31"):
        require_room(31, 3, 8, 2, 2)


def test_standardised_tiles_have_one_brightness_and_contrast() -> None:
    tiles = pictures(2)[:, None] * torch.tensor([0.2, 1.0])[:, None, None, None] + 0.3
    tiles = tiles.double()
    even = standardised(tiles)
    assert even.mean((-2, -1)).abs().max() < 1e-12
    assert (even.std((-2, -1), correction=0) - 0.5).abs().max() < 1e-12
    assert (standardised(tiles[0]) - even[0]).abs().max() < 1e-12
    assert (standardised(tiles * 0.5 + 0.1) - even).abs().max() < 1e-12  # tint and contrast are gone
    faint = 0.5 + 1e-3 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert standardised(faint).std() < 0.05  # and noise of flat tiles stays small


def test_laid_out_tiles_stand_where_they_were() -> None:
    tiles = cut_tiles(pictures(), 3, 8, 2)
    sheet = lay_out(tiles, gap=2)
    assert sheet.shape == (4, 3, 32, 32)
    assert torch.equal(cut_tiles(sheet, 3, 8, 2), tiles)
    assert (sheet[:, :, :2] == 0.5).all() and (sheet[:, :, :, 10:12] == 0.5).all()
