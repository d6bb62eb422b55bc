import math
from typing import Any

import pytest
import torch
from torch import Tensor

from objectives.assignment import sinkhorn, swapped_prediction
from tests.reference import assignment as reference


def scores_of(*shape: int, seed: int = 0) -> Tensor:
    """Cosines of random directions, in fp64."""
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=draw, dtype=torch.float64) * 2 - 1


def released(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Without logarithms, as SwAV's released code has it."""
    q = (scores / epsilon).exp()
    for _ in range(iterations):
        q = q / q.sum(dim=0)
        q = q / q.sum(dim=1, keepdim=True)
    return q


@pytest.mark.parametrize("iterations", [1, 3, 20])
def test_sinkhorn_equals_the_reference(iterations: int) -> None:
    scores = scores_of(7, 4)
    wanted = torch.tensor(reference.sinkhorn(scores.tolist(), 0.05, iterations), dtype=torch.float64)
    assert (sinkhorn(scores, 0.05, iterations) - wanted).abs().max() < 1e-12
    assert (sinkhorn(scores, 0.05, iterations + 1) - wanted).abs().max() > 1e-6
    assert (sinkhorn(scores, 0.06, iterations) - wanted).abs().max() > 1e-3


def test_what_sinkhorn_makes_of_two_rows_and_columns_is_known_by_hand() -> None:
    # The cross-ratio of a 2 x 2 table is what no normalisation changes: with even sums, q / (1 - q) is its root.
    codes = sinkhorn(torch.tensor([[0.1, 0.0], [0.0, 0.0]], dtype=torch.float64), 0.05, 50)
    assert codes[0, 0].item() == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-12)
    assert sinkhorn(torch.full((6, 4), 0.7)).tolist() == [[0.25] * 4] * 6


def test_rows_sum_to_one_and_columns_become_even() -> None:
    scores = scores_of(30, 5) + torch.arange(5) / 2  # the last column is liked by all
    few, many = sinkhorn(scores), sinkhorn(scores, iterations=500)
    for codes in (few, many):
        assert (codes.sum(dim=1) - 1).abs().max() < 1e-12 and (codes >= 0).all()
    assert (many.sum(dim=0) - 6).abs().max() < 1e-6
    assert (few.sum(dim=0) - 6).abs().max() > 1e-3
    assert ((scores / 0.05).softmax(dim=1).sum(dim=0) - 6).abs().max() > 5  # the broken twin: nothing balanced
    # Stopped by its tolerance, each column is within it, and iterations are saved.
    nearly = sinkhorn(scores, iterations=500, tolerance=0.1)
    assert (nearly.sum(dim=0) / 6 - 1).abs().max() < 0.1
    assert (nearly - many).abs().max() > 1e-4


def test_sinkhorn_forgets_order_and_what_all_rows_or_columns_share() -> None:
    scores, order = scores_of(9, 4), torch.randperm(9, generator=torch.Generator().manual_seed(1))
    codes = sinkhorn(scores)
    assert (sinkhorn(scores[order]) - codes[order]).abs().max() < 1e-12
    assert (sinkhorn(scores + 3 + torch.arange(4)) - codes).abs().max() < 1e-12
    assert (sinkhorn(scores * 1.1) - codes).abs().max() > 1e-3


def test_large_scores_do_not_overflow() -> None:
    scores = scores_of(8, 4).float() * 20
    scores[:, 3] = -20.0  # liked by nobody
    assert not torch.isfinite(released(scores, 0.05, 3)).all()
    wanted = sinkhorn(scores.double(), 0.05, 3)
    assert torch.isfinite(sinkhorn(scores)).all() and (sinkhorn(scores) - wanted).abs().max() < 1e-3
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sinkhorn(scores.bfloat16()), sinkhorn(scores.bfloat16().float()))


def test_sums_over_processes_make_the_parts_one_whole() -> None:
    """Two processes in one: each round's sums are those of both halves."""
    scores = scores_of(8, 4)
    wanted = sinkhorn(scores)
    for own, other in ((slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))):
        there = [scores[other] / 0.05]

        def both(here: Tensor, there: list[Tensor] = there) -> Tensor:
            sums = torch.cat([here, there[-1].logsumexp(dim=0, keepdim=True)])  # (2, k)
            there.append((there[-1] - sums.logsumexp(dim=0)).log_softmax(dim=1))
            return sums

        assert (sinkhorn(scores[own], everyone=both) - wanted[own]).abs().max() < 1e-12
        assert (sinkhorn(scores[own]) - wanted[own]).abs().max() > 1e-3  # the broken twin: balanced alone


def test_swapped_prediction_equals_the_reference() -> None:
    scores = scores_of(4, 5, 3)
    codes = torch.stack([sinkhorn(scores[view]) for view in range(2)])
    found = swapped_prediction(scores, codes, 0.1).item()
    assert found == pytest.approx(reference.swapped_prediction(scores.tolist(), codes.tolist(), 0.1), abs=1e-12)
    for wrong in (codes.flip(0), codes.roll(1, 1)):  # codes of the same view, and of other pictures
        assert abs(swapped_prediction(scores, wrong, 0.1).item() - found) > 1e-3


def test_swapped_prediction_is_log_k_where_nothing_is_known_and_entropy_where_all_is() -> None:
    codes = sinkhorn(scores_of(6, 4)).expand(2, 6, 4)
    assert swapped_prediction(torch.zeros(3, 6, 4).double(), codes, 0.1).item() == pytest.approx(math.log(4), abs=1e-12)
    entropy = torch.special.entr(codes[0]).sum(dim=1).mean().item()
    known = 0.1 * codes[:1].log().expand(3, 6, 4)
    assert swapped_prediction(known, codes, 0.1).item() == pytest.approx(entropy, abs=1e-12)
    # What all of a row's scores share says nothing, nor does the order of pictures or of the other views.
    scores = scores_of(4, 6, 4)
    found = swapped_prediction(scores, codes, 0.1)
    for same in (scores + 5, scores[[0, 1, 3, 2]]):
        assert (swapped_prediction(same, codes, 0.1) - found).abs() < 1e-12
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    assert (swapped_prediction(scores[:, order], codes[:, order], 0.1) - found).abs() < 1e-12
    assert (swapped_prediction(scores[:, order], codes, 0.1) - found).abs() > 1e-3


def test_codes_are_targets_without_gradient() -> None:
    def gradient(assign: Any) -> Tensor:
        scores = scores_of(2, 5, 3).requires_grad_()
        codes = torch.stack([assign(view) for view in scores])
        log_p = (scores / 0.1).log_softmax(dim=-1)
        loss = -(codes * log_p.flip(0)).sum(-1).mean()  # by hand: this one lets a gradient of codes through
        (found,) = torch.autograd.grad(loss, scores)
        return found

    constant = torch.stack([sinkhorn(view) for view in scores_of(2, 5, 3)])
    scores = scores_of(2, 5, 3).requires_grad_()
    (wanted,) = torch.autograd.grad(swapped_prediction(scores, constant, 0.1), scores)
    assert (gradient(sinkhorn) - wanted).abs().max() < 1e-12
    assert (gradient(lambda view: released(view, 0.05, 3)) - wanted).abs().max() > 1e-3
    loud = scores_of(2, 5, 3).requires_grad_()
    swapped_prediction(scores, loud, 0.1).backward()
    assert loud.grad is None


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="0 iterations"):
        sinkhorn(scores_of(4, 2), iterations=0)
    with pytest.raises(ValueError, match="2 codes and 1 views"):
        swapped_prediction(scores_of(1, 4, 2), scores_of(2, 4, 2), 0.1)
