"""CERT: the queue on one process and on two, its negatives, its teacher, and steps in pieces."""

import math

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from modalities.task import Batch
from modalities.text.cert import CERT, CERTConfig
from objectives.gather import rank, world_size
from tests.text.examples_neighbours import LENGTH, batch_of, encoder, tokenizer
from tests.world import run_in_world

ROWS = 8


def build(queue: int = 20, momentum: float = 0.5) -> tuple[CERT, Batch]:
    torch.manual_seed(0)
    cfg = CERTConfig(queue=queue, momentum=momentum, projection=6, view="token")
    return CERT(encoder(), tokenizer(), LENGTH, cfg).double().train(), batch_of(2)


def steps(pieces: int = 1, sabotage: bool = False) -> dict[str, torch.Tensor]:
    """State and losses after three steps on this process's share of the rows."""
    task, whole = build()
    share = ROWS // world_size()
    model = DistributedDataParallel(task) if world_size() > 1 else task
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for step in range(3):
        batch = {name: x[rank() * share : (rank() + 1) * share] for name, x in whole.items()}
        batch["ids"] = batch["ids"] + step * ROWS  # new rows in each step
        optimizer.zero_grad()
        total = 0.0
        for piece in range(pieces):
            part = {name: x.chunk(pieces)[piece] for name, x in batch.items()}
            loss = model(part)["loss"] / pieces
            loss.backward()
            total += loss.detach()
        optimizer.step()
        if sabotage:  # the broken twin: keys that are not those of their rows
            task.new.keys = [torch.cat(task.new.keys).roll(1, 0)]
        task.after_step((step + 1) / 3)
        losses.append(total)
    found = {name: x.clone() for name, x in task.state_dict().items()} | {"losses": torch.stack(losses)}
    if world_size() > 1:
        dist.all_reduce(found["losses"])
        found["losses"] /= world_size()
    return found


def on_two() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return steps(), steps(sabotage=True)


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def test_two_processes_keep_the_queue_of_one() -> None:
    alone = steps()
    assert int(alone["pointer"]) == 24 % 20 and (alone["stored_ids"] >= 0).all()
    assert alone["losses"][0] == 0 and alone["losses"][2] > 0.1
    for right, wrong in run_in_world(on_two, processes=2):
        assert apart(right, alone) < 1e-12
        assert apart(wrong, alone) > 1e-4


def test_pieces_make_the_step_of_the_whole() -> None:
    assert apart(steps(pieces=4), steps()) < 1e-12


def test_the_oldest_keys_leave_first() -> None:
    task, batch = build(queue=20)
    for step in range(3):
        task(batch | {"ids": batch["ids"] + step * ROWS})
        task.after_step(0.5)
    assert sorted(task.stored_ids.tolist()) == list(range(4, 24))
    small, _ = build(queue=5)  # fewer places than keys in a step: the last of them stay
    small(batch)
    small.after_step(0.5)
    assert sorted(small.stored_ids.tolist()) == [3, 4, 5, 6, 7] and int(small.pointer) == 8 % 5


def test_a_rows_own_old_key_is_no_negative() -> None:
    task, batch = build()
    task(batch)
    task.after_step(0.5)
    again = task(batch)["loss"]  # 7 keys of other rows
    others = task(batch | {"ids": batch["ids"] + 100})["loss"]  # the broken twin: all 8 count
    assert others > again + 1e-3
    task.stored_ids.fill_(3)
    assert abs(task({name: x[3:4] for name, x in batch.items()})["loss"]) < 1e-12  # nothing left to tell apart


def test_equal_keys_cost_the_logarithm_of_their_number() -> None:
    task, batch = build()
    task(batch)
    task.after_step(0.5)
    with torch.no_grad():
        task.head[2].weight.zero_()
        task.teacher["head"][2].weight.zero_()
        task.teacher["head"][2].bias.copy_(task.head[2].bias)
        task.stored[:] = torch.nn.functional.normalize(task.head[2].bias, dim=0)
    assert abs(task(batch)["loss"] - math.log(8)) < 1e-12  # the own key and those of 7 other rows


def test_the_teacher_follows_and_never_learns() -> None:
    task, batch = build(momentum=0.9)
    task(batch)
    task.after_step(0.1)
    before = [weight.clone() for weight in task.teacher.parameters()]
    task(batch)["loss"].backward()
    assert all(weight.grad is None for weight in task.teacher.parameters())
    with torch.no_grad():
        for weight in task.encoder.parameters():
            weight.add_(1.0)
    task.after_step(0.2)
    moved = [new - old for new, old in zip(task.teacher["encoder"].parameters(), before, strict=False)]
    assert all(torch.allclose(change, torch.full_like(change, 0.1), atol=1e-12, rtol=0) for change in moved)


def test_an_evaluation_stores_nothing() -> None:
    task, batch = build()
    task.eval()
    task(batch)
    assert task.new.keys == []


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_skipped_step_leaves_no_key(pieces: int) -> None:
    def step(task: CERT, first: int) -> None:
        task.zero_grad(set_to_none=True)  # as `fit` begins each step
        for piece in range(pieces):
            part = {name: x.chunk(pieces)[piece] for name, x in (batch | {"ids": batch["ids"] + first}).items()}
            task(part)["loss"].backward()

    task, batch = build()
    resumed, _ = build()
    step(task, 0)  # nothing follows: its gradient was not finite, say, and there is no key that a checkpoint would miss
    for one in (task, resumed):
        step(one, ROWS)
        one.after_step(0.5)
    assert sorted(task.stored_ids.tolist())[-ROWS:] == list(range(ROWS, 2 * ROWS)) and int(task.pointer) == ROWS
    assert apart(task.state_dict(), resumed.state_dict()) == 0
    step(task, 0)
    task.after_step(0.6)  # the broken twin: a step that was taken
    assert int(task.pointer) == 2 * ROWS


@pytest.mark.parametrize(
    "options", [{"queue": 0}, {"projection": 0}, {"momentum": 1.0}, {"share": -0.1}, {"temperature": 0.0}]
)
def test_options_that_cannot_work_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(options))}"):
        CERTConfig(**options)  # type: ignore[arg-type]
