"""Diagnostics against loops and values known in advance."""

import math

import pytest
import torch

from objectives import diagnostics
from tests.objectives.test_contrastive import close, rows
from tests.reference import predictive as reference

X, Y = rows(0, 7, 4), rows(1, 7, 4)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_alignment(alpha: float) -> None:
    assert close(diagnostics.alignment(X, Y, alpha), reference.alignment(X.tolist(), Y.tolist(), alpha))
    assert close(diagnostics.alignment(X, 3 * X), 0.0)
    assert close(diagnostics.alignment(X, -X), 4.0)
    assert not close(diagnostics.alignment(X, Y, alpha), diagnostics.alignment(X, Y, 3.0))


@pytest.mark.parametrize("t", [1.0, 2.0])
def test_uniformity(t: float) -> None:
    assert close(diagnostics.uniformity(X, t), reference.uniformity(X.tolist(), t))
    assert close(diagnostics.uniformity(torch.ones(5, 3, dtype=torch.float64), t), 0.0)
    poles = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert close(diagnostics.uniformity(poles, t), -4 * t)
    with pytest.raises(ValueError, match="give at least 2"):
        diagnostics.uniformity(X[:1])


def test_uniformity_of_a_uniform_sphere() -> None:
    even = torch.randn(1000, 64, generator=torch.Generator().manual_seed(0))
    assert -4.0 < diagnostics.uniformity(even).item() < -3.8


def test_both_can_be_trained_on() -> None:
    assert torch.autograd.gradcheck(diagnostics.alignment, (X, Y))
    assert torch.autograd.gradcheck(diagnostics.uniformity, (X,), atol=1e-6)


def test_effective_rank() -> None:
    basis = torch.eye(5, dtype=torch.float64)
    assert close(diagnostics.effective_rank(basis), 4.0)  # centring takes one of five equal directions
    assert close(diagnostics.effective_rank(torch.cat([basis, -basis])), 5.0)
    line = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    assert close(diagnostics.effective_rank(line), 1.0)
    assert close(diagnostics.effective_rank(line + 100), 1.0)
    # two directions with singular values 3 : 1
    two = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]], dtype=torch.float64)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert close(diagnostics.effective_rank(two), math.exp(entropy))
    assert not close(diagnostics.effective_rank(two), math.exp(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1))))


def test_effective_rank_of_a_collapsed_embedding_is_not_that_of_its_rounding_noise() -> None:
    point = torch.randn(1, 16, generator=torch.Generator().manual_seed(0)).expand(100, 16)
    noise = 1e-8 * torch.randn(100, 16, generator=torch.Generator().manual_seed(1))
    assert diagnostics.effective_rank(point).item() == 0.0
    assert diagnostics.effective_rank(point + noise).item() == 0.0
    assert diagnostics.effective_rank(point + 1e6 * noise).item() > 10


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_effective_rank_of_what_is_not_finite_is_not_a_number(bad: float) -> None:
    x = X.detach().clone()
    x[2, 1] = bad
    assert diagnostics.effective_rank(x).isnan()


def test_embedding_std() -> None:
    even = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    assert abs(diagnostics.embedding_std(even).item() - 0.25) < 0.01
    assert abs(diagnostics.embedding_std(1000 * even).item() - 0.25) < 0.01
    assert diagnostics.embedding_std(torch.ones(8, 4)).item() < 1e-6


def test_mutual_information_bound() -> None:
    assert diagnostics.mutual_information_bound(math.log(64), 64) == 0.0
    assert close(diagnostics.mutual_information_bound(torch.tensor(0.0, dtype=torch.float64), 64), math.log(64))
    each = diagnostics.mutual_information_bound(torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([8, 64]))
    assert close(each[0], math.log(8) - 0.5) and close(each[1], math.log(64) - 0.5)


def test_autocast_does_not_round_them() -> None:
    x, y = X.detach().float(), Y.detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = diagnostics.alignment(x, y), diagnostics.uniformity(x), diagnostics.effective_rank(x.bfloat16())
    assert inside[:2] == (diagnostics.alignment(x, y), diagnostics.uniformity(x))
    assert inside[2].dtype == torch.float32
