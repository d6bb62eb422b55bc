"""Metric-learning objectives against loops, known values, invariances and broken twins."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from objectives import metric_learning as metric
from tests.objectives.test_contrastive import close, number, rows
from tests.reference import contrastive as reference

N, D = 6, 4
X, Y, Z, T = rows(0), rows(1), rows(2), number(0.7)
LABELS = torch.tensor([0, 1, 0, 2, 1, 0])
SAME = torch.tensor([True, False, True, False, False, True])
SCORES, NOISE = rows(3, 5, 1), rows(4, 5, 3)
LOG_P, NOISE_LOG_P = -rows(5, 5, 1).detach().abs(), -rows(6, 5, 3).detach().abs()

Case = tuple[Callable[..., Tensor], tuple[Tensor, ...], Callable[[], float]]
CASES: dict[str, Case] = {
    "margin_contrastive": (
        lambda x, y: metric.margin_contrastive(x, y, SAME, 3.0),
        (X, Y),
        lambda: reference.margin_contrastive(X.tolist(), Y.tolist(), SAME.tolist(), 3.0),
    ),
    "triplet_squared": (
        lambda x, y, z: metric.triplet(x, y, z, 1.0),
        (X, Y, Z),
        lambda: reference.triplet(X.tolist(), Y.tolist(), Z.tolist(), 1.0, True),
    ),
    "triplet_plain": (
        lambda x, y, z: metric.triplet(x, y, z, 1.0, squared=False),
        (X, Y, Z),
        lambda: reference.triplet(X.tolist(), Y.tolist(), Z.tolist(), 1.0, False),
    ),
    "n_pair": (
        lambda x, y: metric.n_pair(x, y, 0.02),
        (X, Y),
        lambda: reference.n_pair(X.tolist(), Y.tolist(), 0.02),
    ),
    "lifted_structured": (
        lambda x: metric.lifted_structured(x, LABELS, 1.5),
        (X,),
        lambda: reference.lifted_structured(X.tolist(), LABELS.tolist(), 1.5),
    ),
    "soft_nearest_neighbor": (
        lambda x, t: metric.soft_nearest_neighbor(x, LABELS, t),
        (X, T),
        lambda: reference.soft_nearest_neighbor(X.tolist(), LABELS.tolist(), 0.7),
    ),
    "nce": (
        lambda s, k: metric.nce(s[:, 0], k, LOG_P[:, 0], NOISE_LOG_P),
        (SCORES, NOISE),
        lambda: reference.nce(SCORES[:, 0].tolist(), NOISE.tolist(), LOG_P[:, 0].tolist(), NOISE_LOG_P.tolist()),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_loop(name: str) -> None:
    function, inputs, slow = CASES[name]
    assert close(function(*inputs), slow())


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    function, inputs, _ = CASES[name]
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name != "nce"])
def test_rotation_changes_nothing_but_scaling_does(name: str) -> None:
    function, inputs, _ = CASES[name]
    rotation, _ = torch.linalg.qr(rows(7, n=D).detach())
    assert close(function(*inputs), function(*[x if x.dim() == 0 else x @ rotation for x in inputs]))
    assert not close(function(*inputs), function(*[x if x.dim() == 0 else 2 * x for x in inputs]))


@pytest.mark.parametrize("name", ["margin_contrastive", "triplet_squared", "triplet_plain", "lifted_structured"])
def test_moving_all_points_together_changes_nothing(name: str) -> None:
    function, inputs, _ = CASES[name]
    step = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    assert close(function(*inputs), function(*[x + step for x in inputs]))
    assert not close(CASES["n_pair"][0](X, Y), CASES["n_pair"][0](X + step, Y + step))


def test_known_values() -> None:
    equal = torch.ones(N, D, dtype=torch.float64)
    none, all_same = torch.zeros(N, dtype=torch.bool), torch.ones(N, dtype=torch.bool)
    assert close(metric.margin_contrastive(equal, equal, none, 3.0), 4.5)
    assert close(metric.margin_contrastive(equal, equal, all_same, 3.0), 0.0)
    assert close(metric.triplet(equal, equal, equal, 0.2), 0.2)
    assert close(metric.n_pair(equal, equal), math.log(N))
    # collapsed: J = log(2 * negatives * e^margin); classes of 3, 3 leave 3 negatives to each side
    halves = torch.tensor([0, 0, 0, 1, 1, 1])
    assert close(metric.lifted_structured(equal, halves, 1.0), (math.log(6) + 1) ** 2 / 2)
    assert close(metric.soft_nearest_neighbor(equal, halves), math.log(5 / 2))
    # model equal to noise and k = 1: a coin toss twice
    p = torch.full((4, 1), -1.3, dtype=torch.float64)
    assert close(metric.nce(p[:, 0], p, p[:, 0], p), 2 * math.log(2))


def test_nce_recovers_an_unnormalised_model() -> None:
    """At the data's true distribution the expected gradient with respect to every score vanishes."""
    data, noise = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.3, 0.5]).double()
    score, k = data.log().requires_grad_(), 4
    drawn = torch.cartesian_prod(*[torch.arange(3)] * (k + 1))  # every way to draw one datum and k noise samples
    first, others = drawn[:, 0], drawn[:, 1:]
    weight = data[first] * noise[others].prod(dim=1)

    def expected_gradient(shift: float) -> Tensor:
        losses = [
            metric.nce(score[x[None]] + shift, score[y[None]], noise.log()[x[None]], noise.log()[y[None]])
            for x, y in zip(first, others, strict=True)
        ]
        (gradient,) = torch.autograd.grad((weight * torch.stack(losses)).sum(), score)
        return gradient.abs().max()

    assert expected_gradient(0.0) < 1e-12
    assert expected_gradient(0.1) > 1e-3  # scores of data that are not the same model's as those of noise


def test_broken_twins_are_caught() -> None:
    lifted = CASES["lifted_structured"][2]()
    d = torch.cdist(X, X)
    same = LABELS[:, None] == LABELS
    one_sided = []
    for i in range(N):
        for j in range(i + 1, N):
            if same[i, j]:
                one_sided.append(F.relu(d[i, j] + (1.5 - d[i])[~same[i]].logsumexp(0)).square())
    assert not close(torch.stack(one_sided).mean() / 2, lifted)
    assert not close(metric.lifted_structured(F.normalize(X, dim=1), LABELS, 1.5), lifted)

    forgets_k = metric.nce(SCORES[:, 0] + math.log(3), NOISE + math.log(3), LOG_P[:, 0], NOISE_LOG_P)
    assert not close(forgets_k, CASES["nce"][2]())
    assert not close(metric.soft_nearest_neighbor(X, LABELS, 1.0), CASES["soft_nearest_neighbor"][2]())
    assert not close(metric.margin_contrastive(X, Y, ~SAME, 3.0), CASES["margin_contrastive"][2]())
    assert not close(metric.triplet(X, Z, Y, 1.0), CASES["triplet_squared"][2]())
    assert not close(metric.n_pair(Y, X, 0.02), CASES["n_pair"][2]())  # the other direction
    assert not close(CASES["triplet_plain"][2](), CASES["triplet_squared"][2]())


@pytest.mark.parametrize("loss", [metric.lifted_structured, metric.soft_nearest_neighbor])
def test_batches_without_comparison_cost_nothing(loss: Callable[..., Tensor]) -> None:
    z = rows(9)
    value = loss(z, torch.arange(N))  # no positives at all
    value.backward()
    assert value.item() == 0.0 and z.grad is not None and z.grad.abs().max() == 0.0
    # one class: soft nearest neighbours are all right, lifted has nothing to push away
    assert abs(loss(z, torch.zeros(N)).item()) < 1e-12


def test_coinciding_points_have_finite_gradients() -> None:
    z = torch.ones(N, D, dtype=torch.float64, requires_grad=True)
    total = metric.lifted_structured(z, LABELS) + metric.soft_nearest_neighbor(z, LABELS)
    total = total + metric.margin_contrastive(z, z.flip(0), SAME) + metric.triplet(z, z, z, squared=False)
    total.backward()
    assert z.grad is not None and bool(z.grad.isfinite().all())


def test_user_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="draw at least one noise sample"):
        metric.nce(SCORES[:, 0], NOISE[:, :0], LOG_P[:, 0], NOISE_LOG_P[:, :0])
    with pytest.raises(ValueError, match=r"need offset=rank\(\) \* 6"):
        metric.n_pair(X, rows(1, n=12))
