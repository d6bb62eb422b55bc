"""The contrast of hidden frames against loops, equal codes and collapse, gradients, precision."""

import torch
from torch import Tensor

from objectives.masked_contrast import masked_contrast
from tests.reference import masked_contrast as reference

N, M, D, K = 3, 7, 5, 10


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, N, M, D, generator=draw, dtype=torch.float64)
    codes = torch.randint(0, 2, (N, M, 2), generator=draw)
    ahead = torch.randint(1, M, (N, M, K), generator=draw)
    return p, q, codes, (torch.arange(M)[:, None] + ahead) % M  # never itself


def test_equals_the_loop() -> None:
    p, q, codes, negatives = example()
    rows = zip(*(given.tolist() for given in (p, q, codes, negatives)), strict=True)
    losses, right = zip(*(reference.masked_contrast(*row, 0.1) for row in rows), strict=True)
    wanted = torch.tensor(losses, dtype=torch.float64)
    found, nearest = masked_contrast(p, q, codes, negatives, 0.1)
    assert (found - wanted).abs().max() < 1e-12 and torch.equal(nearest.bool(), torch.tensor(right))
    apart = torch.arange(M)[None, :, None].expand(N, -1, 1)  # the broken twin: equal codes are negatives
    assert (masked_contrast(p, q, apart, negatives, 0.1)[0] - wanted).abs().max() > 1e-3


def test_a_collapsed_codebook_is_no_success() -> None:
    p, _, codes, negatives = example()
    loss, right = masked_contrast(p, torch.ones_like(p), torch.zeros_like(codes), negatives, 0.1)
    assert loss.abs().max() == 0 and not right.any()
    loss, right = masked_contrast(p, p, codes, negatives, 0.1)
    assert right.mean() == 1


def test_gradients() -> None:
    p, q, codes, negatives = example()
    given = p.requires_grad_(), q.requires_grad_()
    assert torch.autograd.gradcheck(lambda p, q: masked_contrast(p, q, codes, negatives, 0.1)[0], given, fast_mode=True)


def test_half_precision_is_widened() -> None:
    p, q, codes, negatives = example()
    rough = p.bfloat16(), q.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = masked_contrast(*rough, codes, negatives, 0.1)
    exact, _ = masked_contrast(*(each.double() for each in rough), codes, negatives, 0.1)
    assert found.dtype == torch.float32 and (found - exact).abs().max() < 1e-4
