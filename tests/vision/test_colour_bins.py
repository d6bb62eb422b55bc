"""The classes of colours against loops over plain numbers."""

import pytest
import torch
from torch import Tensor

from modalities.vision.colour_bins import ColourBins, in_gamut, soft_cross_entropy
from modalities.vision.lab import lab_to_rgb, rgb_to_lab
from tests.reference import colour as reference


def bins(uniform: float = 0.5) -> ColourBins:
    return ColourBins(uniform).double()


def some_ab(count: int) -> Tensor:
    rgb = torch.rand(1, 3, 1, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return rgb_to_lab(rgb)[0, 1:, 0].T


def plain(ab: Tensor) -> list[tuple[float, float]]:
    return [(a, b) for a, b in ab.tolist()]


def dense(which: Tensor, shares: Tensor, size: int) -> Tensor:
    return torch.zeros(len(which), size, dtype=shares.dtype).scatter(1, which, shares)


def apart(left: Tensor, right: Tensor) -> float:
    return (left - right).abs().max().item()


def test_the_bins_are_those_of_srgb() -> None:
    centres = in_gamut()
    assert len(centres) == len(ColourBins()) == 309
    assert torch.equal(centres, centres.unique(dim=0)) and (centres % 10 == 0).all()
    # All colours lie between four bins: those of the inside of the cube too, of which only the faces were looked at.
    value = torch.linspace(0, 1, 40, dtype=torch.float64)
    cube = torch.cartesian_prod(value, value, value).T[None, :, None]  # (1, 3, 1, k)
    lower = (rgb_to_lab(cube)[0, 1:, 0].T / 10).floor().unique(dim=0) * 10
    around = {(a + i, b + j) for a, b in plain(lower) for i in (0, 10) for j in (0, 10)}
    assert around <= set(plain(centres))
    assert len(in_gamut(levels=2)) <= 32  # eight colours with four corners each


def test_soft_encoding_is_the_plain_one() -> None:
    b, ab = bins(), some_ab(60)
    which, shares = b.encode(ab)
    assert which.shape == shares.shape == (60, 5)
    wanted = torch.tensor([reference.soft_encoding(c, plain(b.centres)) for c in plain(ab)], dtype=torch.float64)
    assert apart(dense(which, shares, len(b)), wanted) < 1e-12
    wider = [reference.soft_encoding(c, plain(b.centres), sigma=6.0) for c in plain(ab)]
    assert apart(dense(which, shares, len(b)), torch.tensor(wider, dtype=torch.float64)) > 1e-3
    assert torch.equal(which[:, 0], (ab[:, None] - b.centres).square().sum(2).argmin(1))


def test_many_colours_at_once_are_encoded_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    b, ab = bins(), some_ab(100)
    once = b.encode(ab)
    monkeypatch.setattr("modalities.vision.colour_bins._AT_ONCE", 7)
    assert all(torch.equal(left, right) for left, right in zip(once, b.encode(ab), strict=True))


def test_weights_are_the_plain_ones_and_average_to_one() -> None:
    ab = torch.cat([some_ab(30), torch.zeros(200, 2, dtype=torch.float64)])
    for uniform in (0.5, 0.1):
        b = bins(uniform)
        assert torch.equal(b.weights, torch.ones_like(b.weights))
        b.estimate(ab)
        wanted = torch.tensor(reference.weights(plain(ab), plain(b.centres), uniform), dtype=torch.float64)
        assert apart(b.weights, wanted) < 1e-12 * wanted.max().item()
        assert apart(b.weights, wanted.roll(1)) > 0.1
        grey = (b.centres == 0).all(1)
        assert b.weights[grey] == b.weights.min() < 0.1 * b.weights.max()
    b = bins(uniform=1.0)
    b.estimate(ab)
    assert apart(b.weights, torch.ones_like(b.weights)) < 1e-12


def test_the_loss_is_the_plain_one() -> None:
    b, ab = bins(), some_ab(12)
    b.estimate(some_ab(500))
    logits = torch.randn(12, len(b), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    which, shares = b.encode(ab)
    rows = [
        reference.cross_entropy(x, reference.soft_encoding(c, plain(b.centres)))
        for x, c in zip(logits.tolist(), plain(ab), strict=True)
    ]
    wanted = torch.tensor(rows, dtype=torch.float64)
    assert apart(soft_cross_entropy(logits, which, shares), wanted) < 1e-12
    weighted = (wanted * b.weights[which[:, 0]]).mean()
    assert apart(b.loss(logits, which, shares), weighted) < 1e-12
    assert apart(b.loss(logits, which, shares), wanted.mean()) > 1e-3  # without the weights


def test_the_loss_is_least_where_the_answer_is_the_encoding() -> None:
    b = bins()
    which, shares = b.encode(some_ab(8))
    best = dense(which, shares, len(b)).clamp(min=1e-30).log().requires_grad_()
    (slope,) = torch.autograd.grad(b.loss(best, which, shares), best)
    assert slope.abs().max() < 1e-12
    (slope,) = torch.autograd.grad(b.loss(best.roll(1, 0), which, shares), best)
    assert slope.abs().max() > 1e-3


def test_annealed_mean_is_the_plain_one_between_mean_and_mode() -> None:
    b = bins()
    logits = torch.randn(1, len(b), 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = b.decode(logits, 0.38)
    assert found.shape == (1, 2, 2, 3)
    row = logits[0, :, 1, 2]
    wanted = torch.tensor(reference.annealed_mean(row.tolist(), plain(b.centres), 0.38), dtype=torch.float64)
    assert apart(found[0, :, 1, 2], wanted) < 1e-12
    mean = (row.softmax(0)[:, None] * b.centres).sum(0)
    assert apart(b.decode(logits, 1.0)[0, :, 1, 2], mean) < 1e-12 and apart(found[0, :, 1, 2], mean) > 1e-3
    assert apart(b.decode(logits, 1e-4)[0, :, 1, 2], b.centres[row.argmax()]) < 1e-12


def test_a_colour_comes_back_from_its_encoding() -> None:
    """Five bins of ten units know a colour to about two units; a wrong neighbour would be ten off."""
    b, ab = bins(), some_ab(200)
    back = b.decode(dense(*b.encode(ab), len(b)).clamp(min=1e-30).log()[:, :, None, None], 1.0)[..., 0, 0]
    distance = (back - ab).square().sum(1).sqrt()
    assert distance.mean() < 2 and distance.max() < 6
    shown = lab_to_rgb(torch.cat([torch.full((200, 1), 50.0, dtype=torch.float64), back], 1)[:, :, None, None])
    assert shown.isfinite().all()


def test_half_precision_logits_lose_nothing_in_the_softmax() -> None:
    b, ab = ColourBins(), some_ab(12).float()
    logits = 20 * torch.randn(12, len(b), generator=torch.Generator().manual_seed(1))
    low = logits.bfloat16()
    assert soft_cross_entropy(low, *b.encode(ab)).dtype == torch.float32
    assert torch.equal(soft_cross_entropy(low, *b.encode(ab)), soft_cross_entropy(low.float(), *b.encode(ab)))
