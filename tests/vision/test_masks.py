"""Hidden regions against slow references: as large as asked for, of the right shape, and the row's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.vision import masks

SEEDS = torch.arange(64) * 1_000_003 + 5
SIDE = 32
Maker = Callable[..., Tensor]


def smoothness(mask: Tensor) -> float:
    """Share of neighbouring pixels that agree."""
    return float((mask[..., 1:] == mask[..., :-1]).double().mean())


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_centre_is_a_square_of_that_share(share: float) -> None:
    mask = masks.centre(SEEDS, SIDE, share)
    hole = round(SIDE * share**0.5)
    low = (SIDE - hole) // 2
    wanted = [[low <= y < low + hole and low <= x < low + hole for x in range(SIDE)] for y in range(SIDE)]
    assert mask.shape == (64, 1, SIDE, SIDE) and (mask == torch.tensor(wanted)).all()
    assert not (mask == torch.tensor(wanted).roll(1, 0)).all()


def test_blocks_are_four_squares_anywhere() -> None:
    mask = masks.blocks(SEEDS, SIDE, 0.25)
    u = uniform_on_device(SEEDS, 8).tolist()
    size = 8
    for row, numbers in zip(mask, u, strict=True):
        wanted = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        for block in range(4):
            y, x = (int(numbers[block + 4 * axis] * (SIDE - size + 1)) for axis in (0, 1))
            wanted[y : y + size, x : x + size] = True
        assert torch.equal(row[0], wanted)
    sizes = mask.sum((1, 2, 3))
    assert sizes.max() == 4 * size**2 and sizes.min() < 4 * size**2  # apart in one row, overlapping in another
    hit = mask.double().mean((0, 1))
    assert hit[0].sum() > 0 and hit[-1].sum() > 0 and hit[:, 0].sum() > 0 and hit[:, -1].sum() > 0


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_a_region_has_the_size_and_smooth_shores(share: float) -> None:
    mask = masks.region(SEEDS, SIDE, share)
    assert (mask.sum((1, 2, 3)) == round(share * SIDE**2)).all()
    scattered = uniform_on_device(SEEDS, SIDE**2).view(-1, 1, SIDE, SIDE) < share  # the broken twin: no shape at all
    assert smoothness(mask) > 0.9 > smoothness(scattered)
    many = masks.region(torch.arange(2000), SIDE, share).double().mean((0, 1))
    assert many.min() > 0.6 * share and many.max() < 1.6 * share  # anywhere in the picture


@pytest.mark.parametrize("maker", [masks.centre, masks.blocks, masks.region])
def test_half_precision_hides_the_same(maker: Maker) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        inside = maker(SEEDS, SIDE, 0.25)
    assert torch.equal(inside, maker(SEEDS, SIDE, 0.25))


@pytest.mark.parametrize("maker", [masks.blocks, masks.region])
def test_a_mask_belongs_to_its_seed_and_stream(maker: Maker) -> None:
    mask = maker(SEEDS, SIDE, 0.25, 1)
    assert torch.equal(maker(SEEDS[7:9], SIDE, 0.25, 1), mask[7:9])
    assert len(mask.unique(dim=0)) == 64
    other = maker(SEEDS, SIDE, 0.25, 2)
    assert not (mask == other).flatten(1).all(1).any()


def test_widening_reaches_every_neighbour() -> None:
    mask = masks.region(SEEDS[:3], 12, 0.1)
    for pixels in (0, 1, 3):
        found = masks.widened(mask, pixels)
        for row in range(3):
            for y in range(12):
                for x in range(12):
                    near = mask[row, 0, max(0, y - pixels) : y + pixels + 1, max(0, x - pixels) : x + pixels + 1]
                    assert found[row, 0, y, x] == near.any()
    assert masks.widened(mask, 3).sum() > masks.widened(mask, 1).sum() > mask.sum()


@pytest.mark.parametrize("maker", [masks.centre, masks.blocks, masks.region])
def test_the_smallest_share_still_hides_something(maker: Maker) -> None:
    assert (maker(SEEDS, 4, 0.001).sum((1, 2, 3)) > 0).all()
