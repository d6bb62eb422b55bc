"""The loss of BYOL and SimSiam against loops and its known values."""

import pytest
import torch

from objectives.bootstrap import cosine_gap
from tests.reference import redundancy as reference


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return tuple(torch.randn(6, 4, generator=draw, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_it_is_the_loop_and_half_the_squared_distance_of_unit_vectors(dtype: torch.dtype, limit: float) -> None:
    p, t = (x.to(dtype) for x in pair())
    found = cosine_gap(p, t).item()
    assert found == pytest.approx(reference.cosine_gap(p.tolist(), t.tolist()), rel=limit)
    assert found != pytest.approx(reference.cosine_gap(p.tolist(), t.roll(1, 0).tolist()), rel=1e-3)
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (p, t)]
    assert 2 * found == pytest.approx((unit[0] - unit[1]).square().sum(1).mean().item(), rel=limit)


def test_known_values_and_what_it_does_not_see() -> None:
    p, t = pair()
    assert [cosine_gap(p, x).item() for x in (p, -p, 3 * p)] == pytest.approx([0, 2, 0], abs=1e-12)
    assert cosine_gap(torch.eye(4)[:2], torch.eye(4)[2:]).item() == 1
    lengths = torch.arange(1.0, 7, dtype=torch.float64)[:, None]
    assert cosine_gap(p * lengths, t / lengths).item() == pytest.approx(cosine_gap(p, t).item(), rel=1e-12)


def test_half_precision_is_widened_and_zero_has_a_gradient() -> None:
    p, t = (x.to(torch.bfloat16) for x in pair())
    with torch.autocast("cpu", torch.bfloat16):
        assert cosine_gap(p, t).dtype == torch.float32 and cosine_gap(p, t) == cosine_gap(p.float(), t.float())
    zero = torch.zeros(2, 3, requires_grad=True)
    cosine_gap(zero, torch.ones(2, 3)).backward()
    assert zero.grad is not None and bool(torch.isfinite(zero.grad).all())
