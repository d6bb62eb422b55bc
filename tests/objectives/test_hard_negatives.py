"""Weighed negatives against loops, known values, invariances, and broken twins that the same checks must catch."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from objectives.contrastive import nt_xent
from objectives.hard_negatives import hard_nt_xent
from tests.reference import hard_negatives as reference

N, D = 5, 4


def rows(seed: int) -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)


X, Y = rows(0), rows(1)
SETTINGS = [(0.5, 0.0, 0.0), (0.5, 1.0, 0.0), (0.5, 0.0, 0.1), (0.3, 0.7, 0.05), (0.2, 2.0, 0.3)]


def number(value: Tensor | float) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else value


def close(a: Tensor | float, b: Tensor | float) -> bool:
    return abs(number(a) - number(b)) < 1e-12 * max(1.0, abs(number(b)))


@pytest.mark.parametrize("temperature, hardness, prior", SETTINGS)
def test_equals_the_loop(temperature: float, hardness: float, prior: float) -> None:
    truth = reference.hard_nt_xent(X.tolist(), Y.tolist(), temperature, hardness, prior)
    assert close(hard_nt_xent(X, Y, temperature, hardness, prior), truth)
    if hardness or prior:
        assert not close(nt_xent(X, Y, temperature), truth)  # the broken twin: options without effect


@pytest.mark.parametrize("temperature, hardness, prior", SETTINGS)
def test_gradient(temperature: float, hardness: float, prior: float) -> None:
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    function = partial(hard_nt_xent, hardness=hardness, prior=prior)
    assert torch.autograd.gradcheck(function, (X, Y, t), eps=1e-6, atol=1e-7, rtol=1e-5)


def test_without_hardness_and_prior_it_is_nt_xent() -> None:
    assert close(hard_nt_xent(X, Y, 0.3), nt_xent(X, Y, 0.3))
    ours, plain = (torch.autograd.grad(loss(X, Y, 0.3), (X, Y)) for loss in (hard_nt_xent, nt_xent))
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(ours, plain, strict=True))


@pytest.mark.parametrize("hardness, prior", [(0.0, 0.0), (2.0, 0.0), (0.0, 0.4), (3.0, 0.2)])
def test_equal_embeddings_leave_a_guess_among_all(hardness: float, prior: float) -> None:
    equal = torch.ones(N, D, dtype=torch.float64)
    assert close(hard_nt_xent(equal, equal, 0.5, hardness, prior), math.log(2 * N - 1))


def test_negatives_never_come_to_less_than_they_can() -> None:
    """Two pairs on opposite sides, whose true negatives cannot be further away: a prior must not take anything off."""
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    bound = math.log1p(2 * math.exp(-1 / 0.3) / math.exp(1 / 0.3))
    assert close(hard_nt_xent(x, x, 0.3, prior=0.3), bound)
    assert close(hard_nt_xent(x, x, 0.3), bound)  # all negatives are opposite: the bound itself


def test_hard_negatives_weigh_more_and_a_prior_takes_off() -> None:
    losses = [number(hard_nt_xent(X, Y, 0.5, hardness)) for hardness in (0.0, 0.5, 1.0, 4.0)]
    assert losses == sorted(losses) and losses[0] < losses[-1]
    close_pairs = X + 0.1 * Y
    assert hard_nt_xent(X, close_pairs, 0.5, prior=0.1) < hard_nt_xent(X, close_pairs, 0.5)


def test_lengths_directions_and_order_change_nothing() -> None:
    rotation, _ = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    order = torch.tensor([3, 1, 4, 0, 2])
    options = (0.5, 1.0, 0.1)
    truth = hard_nt_xent(X, Y, *options)
    assert close(truth, hard_nt_xent(3.0 * X @ rotation, 0.2 * Y @ rotation, *options))
    assert close(truth, hard_nt_xent(Y, X, *options))
    assert close(truth, hard_nt_xent(X[order], Y[order], *options))
    assert not close(truth, hard_nt_xent(X[order], Y, *options))


def test_local_queries_are_slices_of_the_whole() -> None:
    whole = {"all_z1": X, "all_z2": Y}
    parts = [hard_nt_xent(X[i : i + 1], Y[i : i + 1], 0.5, 1.0, 0.1, **whole, offset=i) for i in range(N)]
    assert close(sum(parts) / N, hard_nt_xent(X, Y, 0.5, 1.0, 0.1))
    wrong = [hard_nt_xent(X[i : i + 1], Y[i : i + 1], 0.5, 1.0, 0.1, **whole, offset=0) for i in range(N)]
    assert not close(sum(wrong) / N, hard_nt_xent(X, Y, 0.5, 1.0, 0.1))


def test_low_temperatures_in_single_precision_and_autocast() -> None:
    x, y = X.detach().float(), Y.detach().float()
    truth = number(hard_nt_xent(x, y, 0.5, 1.0, 0.1))
    for t in (0.05, 0.01, 0.002):
        wide, narrow = number(hard_nt_xent(X, Y, t, 1.0, 0.1)), number(hard_nt_xent(x, y, t, 1.0, 0.1))
        assert abs(narrow - wide) < 1e-5 * wide
    assert torch.tensor(1 / 0.002).exp().isinf()  # the broken twin: no term taken out before the exponential
    with torch.autocast("cpu", torch.bfloat16):
        assert close(hard_nt_xent(x, y, 0.5, 1.0, 0.1), truth)
        assert hard_nt_xent(x.bfloat16(), y.bfloat16(), 0.5).dtype == torch.float32
