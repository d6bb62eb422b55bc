"""Patches: cutting and painting are inverse, and hiding is fair."""

import pytest
import torch

from modalities.vision.patches import cut, hidden, on_pixels, paint, shuffled


def images(rows: int = 2, height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.rand(rows, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_cutting_takes_squares_row_by_row() -> None:
    found = cut(images(), 8, 4)
    assert found.shape == (2, 5, 7, 3, 8, 8)
    assert torch.equal(found[1, 2, 3], images()[1, :, 8:16, 12:20])
    assert not torch.equal(found[1, 2, 3], images()[1, :, 12:20, 8:16])
    with pytest.raises(ValueError, match="patches of 8 pixels, 5 apart, do not tile an image of 24 pixels"):
        cut(images(), 8, 5)
    with pytest.raises(ValueError, match="patches of 25 pixels"):
        cut(images(), 25, 1)


@pytest.mark.parametrize("stride", [4, 8])
def test_painting_undoes_cutting(stride: int) -> None:
    whole, shown = paint(cut(images(), 8, stride), stride)
    assert (whole - images()).abs().max() < 1e-12 and shown.all() and shown.shape == (2, 1, 24, 32)
    chosen = torch.zeros(2, *cut(images(), 8, stride).shape[1:3], dtype=torch.bool)
    chosen[:, 0, 0] = True
    part, shown = paint(cut(images(), 8, stride), stride, chosen)
    assert (part[:, :, :8, :8] - images()[:, :, :8, :8]).abs().max() < 1e-12
    assert shown.sum() == 2 * 64 and (part[:, :, 8:] == 0).all()


def test_hiding_is_even_and_belongs_to_the_row() -> None:
    seeds = torch.arange(4000)
    found = hidden(seeds, 10, 0.3, 1)
    assert (found.sum(1) == 3).all()
    assert (found.double().mean(0) - 0.3).abs().max() < 0.03  # 4 standard errors
    assert torch.equal(hidden(seeds[7:9], 10, 0.3, 1), found[7:9])
    assert not torch.equal(hidden(seeds, 10, 0.3, 2), found)
    orders = shuffled(seeds, 10, 1)
    assert torch.equal(orders.sort(1).values, torch.arange(10).expand(4000, 10))


def test_a_mask_of_patches_covers_their_pixels() -> None:
    mask = torch.tensor([[True, False, False, False, False, True]])
    found = on_pixels(mask, (2, 3), 4)
    assert found.shape == (1, 1, 8, 12) and found.sum() == 2 * 16
    assert found[0, 0, :4, :4].all() and found[0, 0, 4:, 8:].all()
