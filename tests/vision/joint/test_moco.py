"""MoCo's state: what moves and when; its negatives and its options. On two processes: see test_moco_on_two."""

import copy
from collections.abc import Callable
from functools import partial
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from modalities.task import Batch, Task
from modalities.vision.joint.moco import MoCo, MoCoConfig
from modalities.vision.joint.moco_v3 import MoCoV3, MoCoV3Config
from objectives.gather import world_size
from tests.vision.joint.files import CONVNEXT, RESNET, ROWS, TINY_VIEWS, VIEWS, VIT, pictures

OPTIONS: dict[str, Any] = {"queue": 40, "width": 8, "momentum": 0.9, "hardest": 6}


def vit(**options: Any) -> MoCo:
    torch.manual_seed(0)
    return MoCo(VIT, TINY_VIEWS, MoCoConfig(**OPTIONS | options)).double().train()


def grouped() -> Task:
    torch.manual_seed(0)
    return MoCo(RESNET, VIEWS, MoCoConfig(**OPTIONS, symmetric=True, bn_groups=2)).double().train()


def v3() -> Task:
    torch.manual_seed(0)
    return MoCoV3(VIT, TINY_VIEWS, MoCoV3Config(hidden=8, width=8)).double().train()


TASKS: dict[str, Callable[[], Task]] = {
    "plain": vit,
    "mixed": partial(vit, mixed=5, mixed_with_query=3),
    "in groups": grouped,
    "v3": v3,
}


def steps(task: Task, batch: Batch, count: int = 3) -> None:
    """Plain gradient steps on this process's rows, gradients as DDP leaves them; seeds change with the step."""
    model = DistributedDataParallel(task, broadcast_buffers=False) if world_size() > 1 else task
    trained = [p for p in task.parameters() if p.requires_grad]
    for step in range(count):
        task.zero_grad()
        model(batch | {"seeds": batch["seeds"] + 1000 * step})["loss"].backward()
        with torch.no_grad():
            for weight in trained:
                assert weight.grad is not None
                weight -= 0.01 * weight.grad
        task.after_step((step + 1) / 5)


def state(task: Task) -> dict[str, Tensor]:
    """A copy, in fp64."""
    return {name: value.double().clone() for name, value in task.state_dict().items()}


def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_a_forward_pass_moves_nothing_and_an_update_moves_all_once() -> None:
    task = vit()
    before = state(task)
    for part in range(2):  # two passes before one update, and a skipped one
        task({name: value[4 * part :][:4] for name, value in pictures().items()})
    assert apart(state(task), before) == 0
    task(pictures())
    with torch.no_grad():
        for weight in task.encoder.parameters():
            weight += 1.0
    task.after_step(0.5)
    after = state(task)
    for name, value in after.items():
        if name.startswith("key_encoder"):
            wanted = 0.9 * before[name] + 0.1 * after[name.removeprefix("key_")]
            assert torch.allclose(value, wanted, rtol=0, atol=1e-12)
            assert not torch.allclose(value, 0.9 * wanted + 0.1 * after[name.removeprefix("key_")], atol=1e-3)  # twice
    assert task.past.ids[:ROWS].tolist() == pictures()["index"].tolist() and int(task.past.filled) == ROWS
    task.after_step(0.6)  # without a forward pass there is nothing to push
    assert int(task.past.filled) == ROWS


def test_keys_are_of_the_other_view_and_enter_as_unit_vectors() -> None:
    task = vit(symmetric=True)
    queries, keys, index, seeds = task.embed(pictures())
    assert queries.shape == keys.shape == (ROWS, 2, 8) and queries.requires_grad and not keys.requires_grad
    # At the start both networks are the same one: the key of a query is the other query.
    assert torch.allclose(keys, queries.flip(1), rtol=0, atol=1e-12)
    assert not torch.allclose(keys, queries, atol=1e-3)
    task.loss_from(queries, keys, index, seeds)
    task.after_step(0.5)
    assert torch.allclose(task.past.valid().norm(dim=1), torch.ones(2 * ROWS, dtype=torch.float64))
    assert task.past.ids[: 2 * ROWS].tolist() == pictures()["index"].repeat_interleave(2).tolist()
    one = vit()
    only, key, *_ = one.embed(pictures())
    assert torch.equal(only[:, 0], queries[:, 0]) and torch.equal(key[:, 0], keys[:, 0])


def test_other_views_of_the_same_picture_are_no_negatives() -> None:
    task, batch = vit(), pictures()
    parts = task.embed(batch)
    assert task.loss_from(*parts)["loss"] == 0  # the queue is empty
    unrelated = torch.nn.functional.one_hot(torch.arange(8) % 8, 8).double()
    task.past.push(unrelated, torch.arange(8) + 100)
    alone = task.loss_from(*parts)["loss"]
    task.past.push(parts[1][:, 0], batch["index"])  # every picture's own key among the negatives
    found = task.loss_from(*parts)["loss"]
    task.past.ids[8:16] = -1  # the broken twin: nobody knows whose they are
    unknown = task.loss_from(*parts)["loss"]
    assert alone < found < unknown
    # Each picture meets the other seven's keys: equal ones would be told apart by chance.
    same = torch.ones(ROWS, 1, 8, dtype=torch.float64)
    flat = vit()
    flat.past.push(same[:, 0], batch["index"])
    assert float(flat.loss_from(same, same, batch["index"], batch["seeds"])["loss"]) == pytest.approx(log(8), abs=1e-12)


def test_mixes_are_harder_and_the_same_for_the_same_seeds() -> None:
    plain, mixed = vit(), vit(mixed=5, mixed_with_query=3)
    batch = pictures()
    for task in (plain, mixed):
        assert task(batch)["loss"] == 0  # nothing to mix
        steps(task, batch | {"index": batch["index"] + 100}, 1)
        task.load_state_dict(plain.state_dict())
    found = mixed(batch)["loss"]
    assert found > plain(batch)["loss"] + 0.1 and torch.equal(mixed(batch)["loss"], found)
    parts = mixed.embed(batch)
    assert not torch.equal(mixed.loss_from(*parts[:3], parts[3] + 1)["loss"], found)
    assert (plain.negatives(128), mixed.negatives(128)) == (40, 48)


def test_a_resumed_run_goes_on_bit_for_bit() -> None:
    task, batch = vit(mixed=2), pictures()
    steps(task, batch, 2)
    resumed = vit(mixed=2)
    resumed.load_state_dict(copy.deepcopy(task.state_dict()))
    forgetful = vit(mixed=2)
    forgetful.load_state_dict(task.state_dict() | {"past.filled": torch.tensor(0)})
    for each in (task, resumed, forgetful):
        steps(each, batch | {"index": batch["index"] + 20}, 2)
    assert apart(state(task), state(resumed)) == 0 < apart(state(task), state(forgetful))


def test_pieces_that_are_embedded_apart_make_the_same_loss() -> None:
    task, batch = vit(mixed=2), pictures()
    steps(task, batch, 1)
    pieces = [task.embed({name: value[start : start + 2] for name, value in batch.items()}) for start in (0, 2, 4, 6)]
    joined = [torch.cat(part) for part in zip(*pieces, strict=True)]
    whole = task(batch)["loss"]
    assert (task.loss_from(*joined)["loss"] - whole).abs() < 1e-12
    assert (task.loss_from(joined[0], joined[1].flip(0), *joined[2:])["loss"] - whole).abs() > 1e-3


def test_groups_change_what_is_learnt_and_only_in_training() -> None:
    task = grouped()
    whole = MoCo(RESNET, VIEWS, MoCoConfig(**OPTIONS, symmetric=True)).double().train()
    whole.load_state_dict(task.state_dict())
    batch = pictures()
    assert (task.embed(batch)[0] - whole.embed(batch)[0]).abs().max() > 1e-3
    whole.load_state_dict(task.state_dict())
    assert torch.equal(task.eval().embed(batch)[0], whole.eval().embed(batch)[0])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "temperature": ({"temperature": 0.0}, "task.temperature 0.0 must be above 0"),
    "momentum": ({"momentum": 1.0}, "task.momentum 1.0 must be at least 0 and below 1"),
    "queue": ({"queue": 0}, "task.queue 0 must be at least 1"),
    "groups": ({"bn_groups": -1}, "task.bn_groups -1 must not be negative"),
    "hardest": ({"mixed": 2, "hardest": 50}, "task.hardest 50 is more than task.queue 40 holds"),
}


@pytest.mark.parametrize("name", WRONG)
def test_options_that_cannot_work_are_refused(name: str) -> None:
    options, sentence = WRONG[name]
    with pytest.raises(ValueError, match=sentence):
        MoCoConfig(**OPTIONS | options)


CASES: list[tuple[Callable[[], MoCo], str]] = [
    (lambda: vit(bn_groups=2), "task.bn_groups 2 has no effect, for this model has no batch norms; give 0"),
    (lambda: MoCo(CONVNEXT, VIEWS, MoCoConfig(bn_groups=2)), "task.bn_groups 2 has no effect"),
    (lambda: vit(queue=7, hardest=1), "task.queue 7 is shorter than the 8 rows that one step brings"),
]


@pytest.mark.parametrize("case", CASES, ids=["ViT", "ConvNeXt", "short queue"])
def test_what_does_not_fit_the_model_or_the_batch_is_refused(case: tuple[Callable[[], MoCo], str]) -> None:
    build, sentence = case
    with pytest.raises(ValueError, match=sentence):
        steps(build(), pictures(), 1)


def test_a_batch_that_the_queue_or_the_groups_cannot_take_is_refused_before_a_run() -> None:
    def build(**options: Any) -> MoCo:
        return MoCo(RESNET, VIEWS, MoCoConfig(**options))

    build(queue=16, symmetric=True, bn_groups=4).require(8, 100)
    for options, sentence in (
        ({"bn_groups": 5}, r"task.bn_groups 5 leaves groups of fewer than 2 of the 8 "),
        ({"queue": 7}, r"task.queue 7 is shorter than the 8 rows"),
        ({"queue": 15, "symmetric": True}, r"task.queue 15 is shorter than the 16 rows"),
    ):
        with pytest.raises(ValueError, match=sentence):
            build(**options).require(8, 100)
