"""Mutual information against loops, its known value, its invariances, and what must not count."""

import math

import pytest
import torch

from objectives.mutual_information import jensen_shannon
from tests.objectives.test_contrastive import close, rows
from tests.reference import mutual_information as reference

N, T, D = 4, 3, 5
LOCAL, WHOLE = rows(0, N * T, D).detach().view(N, T, D).requires_grad_(), rows(1, N, D)
MASK = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])


def test_equals_the_loop() -> None:
    slow = reference.jensen_shannon(LOCAL.tolist(), WHOLE.tolist(), MASK.tolist())
    assert close(jensen_shannon(LOCAL, WHOLE, MASK), slow)
    assert not close(jensen_shannon(LOCAL, WHOLE, torch.ones_like(MASK)), slow)  # broken: padding is a part
    assert not close(jensen_shannon(LOCAL, WHOLE.roll(1, 0), MASK), slow)  # broken: another row's whole


def test_gradients_are_right() -> None:
    assert torch.autograd.gradcheck(lambda x, y: jensen_shannon(x, y, MASK), (LOCAL, WHOLE))


def test_knowing_nothing_costs_two_bits() -> None:
    assert close(jensen_shannon(torch.zeros_like(LOCAL), WHOLE, MASK), 2 * math.log(2))


def test_rows_may_come_in_any_order() -> None:
    order = torch.tensor([2, 0, 3, 1])
    assert close(jensen_shannon(LOCAL[order], WHOLE[order], MASK[order]), jensen_shannon(LOCAL, WHOLE, MASK))


def test_a_share_of_the_rows_against_all_wholes() -> None:
    halves = [
        jensen_shannon(LOCAL[s], WHOLE[s], MASK[s], all_whole=WHOLE, offset=s.start) for s in (slice(0, 2), slice(2, 4))
    ]
    assert close(torch.stack(halves).mean(), jensen_shannon(LOCAL, WHOLE, MASK))
    alone = [jensen_shannon(LOCAL[s], WHOLE[s], MASK[s]) for s in (slice(0, 2), slice(2, 4))]
    assert not close(torch.stack(alone).mean(), jensen_shannon(LOCAL, WHOLE, MASK))  # broken: local negatives only


def test_bf16_is_widened() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss = jensen_shannon(LOCAL.detach().bfloat16(), WHOLE.detach().bfloat16(), MASK)
    assert loss.dtype == torch.float32


def test_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="got one row"):
        jensen_shannon(LOCAL[:1], WHOLE[:1], MASK[:1])
