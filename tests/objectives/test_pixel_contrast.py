"""Contrast between places against loops, known values, and what must not count."""

import math

import torch
from torch import Tensor

from objectives.pixel_contrast import Terms, distances, matches, non_matches, pixel_nce
from tests.objectives.test_contrastive import close, rows
from tests.reference import pixel_contrast as reference

N, K, Q, D = 3, 2, 4, 3
ANCHORS, POSITIVES = (rows(s, N * K, D).detach().view(N, K, D).requires_grad_() for s in (0, 1))
OTHERS = rows(2, N * Q, D).detach().view(N, Q, D).requires_grad_()
MATCHED = torch.tensor([[1, 1], [1, 0], [0, 1]]).bool()
APART = (torch.arange(N * K * Q).view(N, K, Q) % 3 > 0) & MATCHED[:, :, None]
MARGIN = 2.0


def same(found: Terms, slow: tuple[float, int]) -> bool:
    return close(found[0], slow[0]) and int(found[1]) == slow[1]


def test_matches_equal_the_loop() -> None:
    slow = reference.matches(ANCHORS.tolist(), POSITIVES.tolist(), MATCHED.tolist())
    assert same(matches(ANCHORS, POSITIVES, MATCHED), slow)
    assert not same(matches(ANCHORS, POSITIVES, torch.ones_like(MATCHED)), slow)  # broken: what is not shown counts


def test_non_matches_equal_the_loop() -> None:
    slow = reference.non_matches(ANCHORS.tolist(), OTHERS.tolist(), APART.tolist(), MARGIN)
    assert 0 < slow[1] < int(APART.sum())
    assert same(non_matches(ANCHORS, OTHERS, APART, MARGIN), slow)
    assert not same(non_matches(ANCHORS, OTHERS, torch.ones_like(APART), MARGIN), slow)  # broken: matches pushed too
    assert not same((non_matches(ANCHORS, OTHERS, APART, MARGIN)[0], APART.sum()), slow)  # broken: easy ones count


def test_pixel_nce_equals_the_loop() -> None:
    given = (ANCHORS.tolist(), POSITIVES.tolist(), OTHERS.tolist(), MATCHED.tolist(), APART.tolist())
    slow = reference.pixel_nce(*given, 0.7)
    assert same(pixel_nce(ANCHORS, POSITIVES, OTHERS, MATCHED, APART, 0.7), slow)
    assert not same(pixel_nce(ANCHORS, POSITIVES, OTHERS, MATCHED, torch.ones_like(APART), 0.7), slow)


def test_gradients_are_right() -> None:
    def all_of(a: Tensor, p: Tensor, o: Tensor) -> Tensor:
        nce, _ = pixel_nce(a, p, o, MATCHED, APART, 0.7)
        return matches(a, p, MATCHED)[0] + non_matches(a, o, APART, MARGIN)[0] + nce

    assert torch.autograd.gradcheck(all_of, (ANCHORS, POSITIVES, OTHERS))


def test_known_values() -> None:
    one = torch.ones(N, K, D, dtype=torch.float64)
    assert float(matches(one, one, MATCHED)[0]) == 0
    total, count = non_matches(one, torch.ones(N, Q, D).double(), APART, 0.5)  # all at one point
    assert math.isclose(float(total / count), 0.25, rel_tol=1e-6) and int(count) == int(APART.sum())
    total, count = non_matches(one, 10 * torch.ones(N, Q, D).double(), APART, 0.5)  # all far apart
    assert float(total) == 0 and int(count) == 0
    every = torch.ones(N, K, Q, dtype=torch.bool)
    total, count = pixel_nce(0 * one, one, torch.ones(N, Q, D).double(), every[..., 0], every, 0.1)
    assert math.isclose(float(total / count), math.log(1 + Q), rel_tol=1e-12)


def test_equal_descriptors_have_a_finite_gradient() -> None:
    one = torch.ones(1, 2, 3, dtype=torch.float64, requires_grad=True)
    non_matches(one, one, torch.ones(1, 2, 2, dtype=torch.bool), 0.5)[0].backward()
    assert one.grad is not None and torch.isfinite(one.grad).all()
    apart = distances(ANCHORS, OTHERS)
    assert close(apart[1, 0, 2], math.dist(ANCHORS[1, 0].tolist(), OTHERS[1, 2].tolist()))


def test_bf16_is_widened() -> None:
    a, p, o = (x.detach().bfloat16() for x in (ANCHORS, POSITIVES, OTHERS))
    with torch.autocast("cpu", torch.bfloat16):
        found = matches(a, p, MATCHED), non_matches(a, o, APART, 1.0), pixel_nce(a, p, o, MATCHED, APART, 0.1)
    assert all(total.dtype == torch.float32 for total, _ in found)
