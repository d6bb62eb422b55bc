"""MoCo's loss: its reference, the values that can be worked out, and what it must not depend on."""

from math import exp, log

import pytest
import torch
from torch import Tensor

from objectives.contrastive import info_nce
from objectives.queue_contrast import queue_info_nce
from tests.reference import queue_contrast as reference

T = 0.2


def tensors(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = {"queries": (3, 4), "keys": (3, 4), "negatives": (5, 4), "own_negatives": (3, 2, 4)}
    made = {name: torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for name, shape in shapes.items()}
    made["ignore"] = torch.rand(3, 5, generator=draw) < 0.4
    made["ignore_own"] = torch.tensor([[False, True], [False, False], [True, True]])
    return made


def test_it_equals_the_loops() -> None:
    given = tensors()
    lists = {name: value.tolist() for name, value in given.items()}
    truth = reference.queue_info_nce(**lists, temperature=T)
    assert float(queue_info_nce(**given, temperature=T)) == pytest.approx(truth, abs=1e-12)
    assert float(queue_info_nce(**tensors(torch.float32), temperature=T)) == pytest.approx(truth, abs=1e-5)
    for name in ("ignore", "ignore_own"):  # the broken twins: what is to be left out counts
        assert abs(float(queue_info_nce(**given | {name: torch.zeros_like(given[name])}, temperature=T)) - truth) > 1e-3


def test_values_that_can_be_worked_out() -> None:
    same = torch.ones(2, 3, dtype=torch.float64)
    assert float(queue_info_nce(same, same, same.repeat(4, 1), T)) == pytest.approx(log(1 + 8), abs=1e-12)
    nothing = torch.empty(0, 3, dtype=torch.float64)
    assert float(queue_info_nce(same, same, nothing, T)) == 0
    everything = torch.ones(2, 8, dtype=torch.bool)
    assert float(queue_info_nce(same, same, same.repeat(4, 1), T, everything)) == 0
    orthogonal = torch.eye(3, dtype=torch.float64)
    found = queue_info_nce(orthogonal[:1], orthogonal[:1], orthogonal[1:], T)
    assert float(found) == pytest.approx(log(1 + 2 * exp(-1 / T)), abs=1e-12)


def test_it_is_info_nce_where_each_query_has_the_same_candidates() -> None:
    given = tensors()
    query, key = given["queries"][:1], given["keys"][:1]
    candidates = torch.cat([key, given["negatives"]])
    truth = info_nce(query, candidates, T, torch.tensor([0]))
    assert torch.allclose(queue_info_nce(query, key, given["negatives"], T), truth, rtol=0, atol=1e-12)
    twice = queue_info_nce(query, key, candidates, T)  # the broken twin: the key is among its own negatives
    assert (twice - truth).abs() > 1e-3


def test_sizes_and_order_change_nothing() -> None:
    given = tensors()
    truth = queue_info_nce(**given, temperature=T)
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = given | {"negatives": given["negatives"][order] * 7, "ignore": given["ignore"][:, order]}
    moved["queries"] = given["queries"] * 0.1
    assert torch.allclose(queue_info_nce(**moved, temperature=T), truth, rtol=0, atol=1e-12)
    wrong = moved | {"ignore": given["ignore"]}
    assert (queue_info_nce(**wrong, temperature=T) - truth).abs() > 1e-3


def test_half_precision_is_widened_and_left_out_negatives_leave_no_nan() -> None:
    given = tensors(torch.bfloat16)
    given["queries"].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = queue_info_nce(**given | {"ignore": torch.ones(3, 5, dtype=torch.bool)}, temperature=T)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(given["queries"].grad).all()
