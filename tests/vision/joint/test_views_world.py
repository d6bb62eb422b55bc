"""Two processes do with halves of a batch what one does with the whole: loss, gradients, and the memory afterwards."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from modalities.task import Batch
from modalities.vision.joint import amdim, dense, pirl
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from modalities.vision.views.pipeline import ViewConfig
from objectives.gather import world_size
from tests.vision.joint.examples_views import SMALL_TILES
from tests.vision.joint.files import RESNET, ROWS, TINY_VIEWS, VIT, pictures
from tests.vision.joint.on_two import found_on_two

Numbers = dict[str, Tensor]
Patch = tuple[object, str, Callable[[Tensor], Tensor]]

# Small crops: how many places of one view the other shows differs between the two halves of the batch.
SCATTERED = JointViews(*(ViewConfig(side=16, min_area=0.05, max_area=0.3) for _ in range(3)))  # type: ignore[arg-type]
DENSE = dense.DenseConfig(cell=4, width=8, hidden=8, matches=8, others=12, near=4.0)
SQUARE = JointViews(*(ViewConfig(side=40) for _ in range(3)))  # type: ignore[arg-type]

TASKS: dict[str, Callable[[], JointTask]] = {
    "pirl": lambda: pirl.PIRL(VIT, TINY_VIEWS, SMALL_TILES),
    "amdim": lambda: amdim.AMDIM(RESNET, SQUARE, amdim.AMDIMConfig(width=8)),
    "dense": lambda: dense.Dense(VIT, SCATTERED, DENSE),
    "dense, info-nce": lambda: dense.Dense(VIT, SCATTERED, replace(DENSE, form="info-nce")),
}


def alone(x: Tensor) -> Tensor:
    """Nothing is asked of the other process."""
    return x


def as_if_alike(count: Tensor) -> Tensor:
    """Every process divides by its own count: a mean of means."""
    return count * world_size()


TWINS: dict[str, tuple[str, list[Patch]]] = {
    "a memory of one process's pictures": ("pirl", [(pirl, "gather", alone)]),
    "AMDIM's negatives of one process": ("amdim", [(amdim, "gather", alone), (amdim, "rank", lambda: 0)]),  # type: ignore[list-item]
    "places of one process": ("dense", [(dense, "gather", alone), (dense, "rank", lambda: 0)]),  # type: ignore[list-item]
    "a mean of means": ("dense", [(dense, "all_reduce", as_if_alike)]),
    "a mean of means, info-nce": ("dense, info-nce", [(dense, "all_reduce", as_if_alike)]),
}


def share_of(batch: Batch, first: int, rows: int) -> Batch:
    return {name: value[first : first + rows] for name, value in batch.items()}


def two_steps(name: str) -> Numbers:
    """Loss and gradients of the second of two steps, whose first one filled the memory, and all buffers after it."""
    torch.manual_seed(0)
    task, batch = TASKS[name]().double().train(), pictures()
    rows = ROWS // world_size()
    first = dist.get_rank() * rows if world_size() > 1 else 0
    out: dict[str, Tensor] = {}
    for step in range(2):
        given = {**batch, "seeds": batch["seeds"] + step, "index": (batch["index"] + step) % 10}
        task.zero_grad()
        out = task(share_of(given, first, rows))
        out["loss"].backward()
        task.after_step((step + 1) / 2)
    found = {"loss": out["loss"].detach().clone()}
    if "accuracy" in out:
        found["accuracy"] = out["accuracy"].double()
    found |= {n: p.grad.clone() for n, p in task.named_parameters() if p.grad is not None}
    if world_size() > 1:
        for value in found.values():
            dist.all_reduce(value)
            value /= world_size()
    return found | {f"buffer {n}": b.double() for n, b in task.named_buffers()}


def on_two() -> dict[str, Numbers]:
    found = {name: two_steps(name) for name in TASKS}
    for twin, (name, patches) in TWINS.items():
        with pytest.MonkeyPatch.context() as patch:
            for module, attribute, wrong in patches:
                patch.setattr(module, attribute, wrong)
            found[twin] = two_steps(name)
    return found


def apart(one: Numbers, other: Numbers) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_two_processes_equal_one() -> None:
    ranks = found_on_two(__name__)
    for name in TASKS:
        wanted = two_steps(name)
        for found in ranks:
            assert apart(wanted, found[name]) < 1e-12, name
        for twin, (right, _) in TWINS.items():
            if right == name:
                assert max(apart(wanted, found[twin]) for found in ranks) > 1e-5, twin
