"""Two processes hold after three steps what one would: teachers, queues, running statistics; in groups of rows too."""

from typing import Any

import pytest
import torch
from torch import Tensor

import modalities.vision.joint.batch_groups as batch_groups
import modalities.vision.joint.moco as module
from modalities.draws import uniform_on_device
from objectives.gather import rank, world_size
from tests.vision.joint import test_grouped_batch_norm as grouped
from tests.vision.joint.files import ROWS, pictures
from tests.vision.joint.on_two import found_on_two
from tests.vision.joint.test_moco import TASKS, apart, state, steps

Found = dict[str, dict[str, Tensor]]
World = list[tuple[Found, dict[str, Tensor], Found]]


def shuffled_at_home(seeds: Tensor, count: int) -> Tensor:
    """The broken twin: each process permutes its own rows."""
    place = uniform_on_device(seeds, 1, 64)[:, 0].argsort().argsort()
    return (rank() * len(seeds) + place) * count // (world_size() * len(seeds))


# Each twin names the right one it must be told from, and what is wrong.
TWINS: dict[str, tuple[str, str, Any]] = {
    "local queue": ("plain", "gather", lambda x: x),
    "shuffled at home": ("in groups", "shuffled_groups", shuffled_at_home),
}


def after_three_steps(name: str) -> dict[str, Tensor]:
    share = ROWS // world_size()
    task = TASKS[name]()
    steps(task, {key: value[rank() * share :][:share] for key, value in pictures().items()})
    return state(task)


def groups() -> dict[str, Tensor]:
    share = ROWS // world_size()
    seeds = pictures()["seeds"][rank() * share :][:share]
    return {"in order": batch_groups.groups_in_order(seeds, 3), "shuffled": batch_groups.shuffled_groups(seeds, 3)}


def on_two() -> tuple[Found, dict[str, Tensor], Found]:
    found = {name: after_three_steps(name) for name in TASKS}
    for name, (right, what, wrong) in TWINS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, what, wrong)
            found[name] = after_three_steps(right)
    return found, groups(), grouped.on_two()


@pytest.fixture(scope="module")
def world() -> World:
    return found_on_two(__name__)


@pytest.mark.parametrize("name", TASKS)
def test_state_is_that_of_one_process(world: World, name: str) -> None:
    alone = after_three_steps(name)
    for found, _, _ in world:
        assert apart(alone, found[name]) < 1e-12
        for twin in (twin for twin, (right, *_) in TWINS.items() if right == name):
            assert apart(alone, found[twin]) > 1e-3, twin


def test_groups_reach_over_processes(world: World) -> None:
    for name, whole in groups().items():
        assert torch.equal(torch.cat([found[name] for _, found, _ in world]), whole)
        assert whole.sort().values.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
        assert (whole.tolist() == whole.sort().values.tolist()) == (name == "in order")


def test_group_statistics_are_those_of_one_process(world: World) -> None:
    (*_, first), (*_, second) = world
    for form, half in first.items():
        whole = half | {name: torch.cat([half[name], second[form][name]]) for name in ("output", "input")}
        found = grouped.apart(whole, grouped.numbers())
        if form == "right":
            assert max(found.values()) < 1e-12, found
        if form == "local statistics":
            assert found["output"] > 1e-2
        if form == "reduced without gradient":
            assert found["output"] < 1e-12 and found["input"] > 1e-3
