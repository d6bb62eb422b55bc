"""NNCLR: whose neighbours are looked up, and when the support set moves."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.vision.joint.nnclr import NNCLR, NNCLRConfig
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures

WIDTH = 16


def tiny(**options: Any) -> NNCLR:
    torch.manual_seed(0)
    return NNCLR(VIT, TINY_VIEWS, NNCLRConfig(**{"width": WIDTH, "queue": 24, **options})).double().train()


def unit(seed: int, rows: int) -> Tensor:
    draw = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(draw, dim=1)


def test_neighbours_are_the_most_similar_of_the_support_set() -> None:
    task, z = tiny(), unit(0, 5)
    assert torch.equal(task.neighbours(z), z)  # nothing is known yet: each is its own
    known = unit(1, 7)
    task.support.push(known)
    found = task.neighbours(z)
    for row, near in zip(z, found, strict=True):
        best = max(range(7), key=lambda k: float(row @ known[k]))
        assert torch.equal(near, known[best])


def test_places_that_nothing_was_pushed_into_are_no_neighbours() -> None:
    task, z = tiny(), unit(0, 1)
    task.support.push(-z)  # less similar than the zeros of the empty places
    assert torch.equal(task.neighbours(z), -z)
    assert int((z @ task.support.rows.T).argmax()) > 0  # the broken twin


def test_the_loss_is_by_hand() -> None:
    task, t = tiny(temperature=0.3), 0.3
    known, p1, p2, z1, z2 = unit(1, 9), unit(2, 4), unit(3, 4), unit(4, 4), unit(5, 4)
    task.support.push(known)
    total = 0.0
    for z, p in ((z1, p2), (z2, p1)):
        near = known[(z @ known.T).argmax(1)]
        for i in range(4):
            scores = [float((near[i] @ p[k] / t).exp()) for k in range(4)]
            total -= float(torch.tensor(scores[i] / sum(scores), dtype=torch.float64).log()) / 8
    assert abs(float(task.loss_from(p1, p2, z1, z2)["loss"]) - total) < 1e-12
    same_view = task.loss_from(p2, p1, z1, z2)["loss"]  # the broken twin: predictions from the neighbour's own view
    assert abs(float(same_view) - total) > 1e-3


def test_only_after_the_step_are_embeddings_remembered() -> None:
    task, batch = tiny(), pictures()
    state = {name: value.clone() for name, value in task.support.named_buffers()}
    z1 = task.embed(batch)[2]
    task(batch)
    assert all(torch.equal(value, state[name]) for name, value in task.support.named_buffers())
    task.after_step(0.5)
    assert torch.equal(task.support.valid(), z1)
    task.after_step(0.5)  # nothing is pushed twice, nor what was seen in evaluation
    task.eval()(batch)
    task.after_step(0.5)
    assert int(task.support.filled) == ROWS


def test_a_checkpoint_carries_the_support_set() -> None:
    task, other = tiny(), tiny()
    for _ in range(4):  # around the end of the queue
        task(pictures())
        task.after_step(0.1)
    other.load_state_dict(task.state_dict())
    for one in (task, other):
        one(pictures())
        one.after_step(0.2)
    assert all(torch.equal(a, b) for a, b in zip(task.buffers(), other.buffers(), strict=True))
    assert int(task.support.filled) == 24


def test_a_step_that_brings_more_than_the_support_set_holds_is_refused() -> None:
    task = tiny(queue=ROWS - 1)
    task(pictures())
    with pytest.raises(ValueError, match=r"task.queue 7 is shorter than the 8 rows"):
        task.after_step(0.1)


@pytest.mark.parametrize("wrong", [{"queue": 0}, {"width": 0}, {"temperature": 0.0}])
def test_options_that_cannot_work_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(wrong))}"):
        NNCLRConfig(**wrong)
