"""AMDIM's objective against loops, its known values, and what must not count."""

import math

import pytest
import torch

from objectives.local_nce import local_nce
from tests.objectives.test_contrastive import close, rows
from tests.reference import local_nce as reference

N, P, D = 4, 3, 5
SOURCE, MAPS = rows(0, N, D), rows(1, N * P, D).detach().view(N, P, D).requires_grad_()


def test_equals_the_loop() -> None:
    slow = reference.local_nce(SOURCE.tolist(), MAPS.tolist(), 2.0)
    found = local_nce(SOURCE, MAPS, 2.0)
    assert close(found[0], slow[0]) and close(found[1], slow[1])
    assert not close(local_nce(SOURCE, MAPS, 20.0)[0], slow[0])  # broken: not clipped as much
    assert not close(local_nce(SOURCE, MAPS.roll(1, 0), 2.0)[0], slow[0])  # broken: another picture's map


def test_gradients_are_right() -> None:
    assert torch.autograd.gradcheck(lambda x, y: local_nce(x, y, 3.0), (SOURCE, MAPS))


def test_knowing_nothing_costs_the_log_of_one_and_all_places_of_others() -> None:
    loss, squares = local_nce(torch.zeros_like(SOURCE), MAPS, 20.0)
    assert close(loss, math.log(1 + (N - 1) * P)) and not squares.any()


def test_other_places_of_the_own_map_take_no_part() -> None:
    scores = (SOURCE[0] @ MAPS.flatten(0, 1).T / D**0.5).detach().view(N, P)
    by_hand = [torch.cat([scores[0, p : p + 1], scores[1:].flatten()]).log_softmax(0)[0] for p in range(P)]
    found = local_nce(SOURCE[:1], MAPS[:1], 1e9, MAPS, 0)[0]
    assert abs(found + torch.stack(by_hand).mean()) < 1e-9
    assert not close(found, -scores.flatten().log_softmax(0)[:P].mean())  # broken: they are negatives too


def test_scores_stay_within_the_clip() -> None:
    loss, squares = local_nce(1e3 * SOURCE.detach(), 1e3 * MAPS.detach(), 5.0)
    assert float(loss) <= 10.0 + math.log(1 + (N - 1) * P) and float(squares) > 1e6


def test_a_share_of_the_rows_against_all_maps() -> None:
    halves = [local_nce(SOURCE[s], MAPS[s], 2.0, MAPS, s.start) for s in (slice(0, 2), slice(2, 4))]
    whole = local_nce(SOURCE, MAPS, 2.0)
    for place in (0, 1):
        assert close(torch.stack([half[place] for half in halves]).mean(), whole[place])
    alone = [local_nce(SOURCE[s], MAPS[s], 2.0)[0] for s in (slice(0, 2), slice(2, 4))]
    assert not close(torch.stack(alone).mean(), whole[0])  # broken: negatives of one process only
    with pytest.raises(ValueError, match="do not fit"):
        local_nce(SOURCE, MAPS, 2.0, MAPS, 2)


def test_bf16_is_widened() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss, squares = local_nce(SOURCE.detach().bfloat16(), MAPS.detach().bfloat16(), 20.0)
    assert loss.dtype == squares.dtype == torch.float32
