"""UDA's objective against loops and known values, with broken twins."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.consistency import annealed, consistency, withhold
from tests.reference import consistency as reference

N, C = 6, 3


def logits(seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (1.5 * torch.randn(N, C, generator=draw, dtype=torch.float64)).requires_grad_()


X, Y = logits(0), logits(1)
LABELS = torch.tensor([0, -1, 2, 1, -1, 0])


def close(a: Tensor | float, b: float) -> bool:
    return abs((float(a.detach()) if isinstance(a, Tensor) else a) - b) < 1e-12 * max(1.0, abs(b))


@pytest.mark.parametrize("confidence", [0.0, 0.6, 0.7, 1.0])
@pytest.mark.parametrize("temperature", [0.4, 1.0])
def test_equals_the_loop(temperature: float, confidence: float) -> None:
    loss, share = consistency(X, Y, temperature, confidence)
    assert close(loss, reference.consistency(X.tolist(), Y.tolist(), temperature, confidence))
    assert close(share, float((X.softmax(1).amax(1) > confidence).double().mean()))


def test_broken_twins_are_caught() -> None:
    truth = reference.consistency(X.tolist(), Y.tolist(), 0.4, 0.6)
    assert 0 < float(consistency(X, Y, 0.4, 0.6)[1]) < 1
    assert not close(consistency(Y, X, 0.4, 0.6)[0], truth)  # the other way round
    assert not close(consistency(X / 0.4, Y, 1.0, 0.6)[0], truth)  # confidence after sharpening
    sure = X.softmax(1).amax(1) > 0.6
    assert not close(consistency(X[sure], Y[sure], 0.4, 0.6)[0], truth)  # the mean over those that count


def test_the_plain_side_gets_no_gradient() -> None:
    x, y = logits(0), logits(1)
    consistency(x, y, 0.4, 0.0)[0].backward()
    assert x.grad is None and y.grad is not None
    assert torch.allclose(y.grad, (y.softmax(1) - (x / 0.4).softmax(1)).detach() / N, rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(lambda y: consistency(X, y, 0.4, 0.6)[0], (Y,), eps=1e-6, atol=1e-7, rtol=1e-5)


def test_equal_guesses_cost_nothing_unless_sharpened() -> None:
    assert close(consistency(X, X, 1.0, 0.0)[0], 0.0)
    assert consistency(X, X, 0.4, 0.0)[0] > 0.01
    uniform = torch.zeros(N, C, dtype=torch.float64)
    one_hot = torch.full((N, C), -1e3, dtype=torch.float64).index_fill_(1, torch.tensor([0]), 0.0)
    assert close(consistency(one_hot, uniform, 0.4, 0.8)[0], math.log(C))
    assert close(consistency(uniform, one_hot, 0.4, 0.8)[0], 0.0)  # not confident


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 1.0])
def test_what_is_known_is_withheld(threshold: float) -> None:
    found = withhold(X, LABELS, threshold)
    assert found.tolist() == reference.withhold(X.tolist(), LABELS.tolist(), threshold)
    # Of the right class: that the guess is certain, but wrong, is no reason.
    by_guess = torch.where((LABELS < 0) | (X.softmax(1).amax(1) > threshold), -100, LABELS)
    assert threshold != 0.6 or found.tolist() != by_guess.tolist()


def test_thresholds_rise_from_a_guess_to_certainty() -> None:
    progress = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    linear = annealed("linear", progress, 4).tolist()
    assert linear == [0.25, 0.625, 1.0]
    log, exp = annealed("log", progress, 4), annealed("exp", progress, 4)
    assert close(log[1], (1 - math.exp(-2.5)) * 0.75 + 0.25) and close(exp[1], math.exp(-2.5) * 0.75 + 0.25)
    assert exp[1] < linear[1] < log[1]
    assert log[0] == 0.25 and exp[2] == 1.0
    assert bool((annealed("none", progress, 4) > 1).all())


def test_full_precision_under_autocast() -> None:
    x, y = X.detach().float(), Y.detach().float()
    outside = consistency(x, y, 0.4, 0.6)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert consistency(x, y, 0.4, 0.6)[0] == outside
        assert consistency(x.bfloat16(), y.bfloat16(), 0.4, 0.6)[0].dtype == torch.float32
    assert F.kl_div(Y.log_softmax(1), X.log_softmax(1), log_target=True, reduction="batchmean") > 0
