"""Two processes with half of the rows each do over several steps what one process does with all: losses, gradients,
weights and state of the methods with negatives in the batch and with few labels. The broken twins are known bugs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from modalities.task import Task
from modalities.vision.joint import nnclr, s4l, simclr, sup_con, uda
from objectives.gather import gather, rank, world_size
from tests.vision.joint.examples_contrast import EXAMPLES
from tests.vision.joint.files import ROWS
from tests.vision.joint.on_two import found_on_two
from trainers.step import GradientStep

STEPS = 3
METHODS = ["simclr, deep head, hard negatives", "sup_con", "nnclr", "s4l", "uda"]
Numbers = dict[str, Tensor]


def itself(x: Tensor) -> Tensor:
    return x


def keys_itself(x: Tensor) -> Tensor:
    """Predictions of all processes, but the support set gets this one's embeddings alone."""
    return gather(x) if x.requires_grad else x


def without_gradient(x: Tensor) -> Tensor:
    return gather(x.detach())


# Each twin: the method, and what its module is given in place of the right function.
TWINS: dict[str, tuple[str, Any, dict[str, Callable[..., Any]]]] = {
    "negatives without gradient": (METHODS[0], simclr, {"gather": without_gradient}),
    "negatives of this process alone": (METHODS[0], simclr, {"gather": itself, "rank": lambda: 0}),
    "classes of this process alone": ("sup_con", sup_con, {"gather": itself, "rank": lambda: 0}),
    "a support set of its own": ("nnclr", nnclr, {"gather": keys_itself}),
    "mean of means of turned labels": ("s4l", s4l, {"gather": itself, "world_size": lambda: 1}),
    "mean of means of labels": ("uda", uda, {"gather": itself, "world_size": lambda: 1}),
}


def run(name: str) -> Numbers:
    """Some updates on this process's share of the batch, each of other views."""
    torch.manual_seed(0)
    task, batch = EXAMPLES[name][1]()
    model: Any = task.double().train()
    if dist.is_initialized():
        model = DistributedDataParallel(task, broadcast_buffers=False)
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1)
    rows, found = ROWS // world_size(), {}
    for step in range(STEPS):
        seen = {**batch, "seeds": batch["seeds"] + 1000 * step}
        optimizer.zero_grad()
        loss = model({key: value[rank() * rows :][:rows] for key, value in seen.items()})["loss"]
        loss.backward()
        found |= {f"gradient {step} {n}": p.grad.clone() for n, p in task.named_parameters() if p.grad is not None}
        optimizer.step()
        task.after_step((step + 1) / STEPS)
        found[f"loss {step}"] = mean(loss.detach())
    return found | state(task)


def state(task: Task) -> Numbers:
    return {f"state {name}": value.clone() for name, value in task.state_dict().items() if value.is_floating_point()}


def mean(x: Tensor) -> Tensor:
    if dist.is_initialized():
        dist.all_reduce(x)
    return x / world_size()


def on_two() -> dict[str, Numbers]:
    found = {name: run(name) for name in METHODS}
    for twin, (name, module, wrong) in TWINS.items():
        with pytest.MonkeyPatch.context() as patch:
            for function, instead in wrong.items():
                patch.setattr(module, function, instead)
            found[twin] = run(name)
    return found


@pytest.fixture(scope="module")
def world() -> list[dict[str, Numbers]]:
    return found_on_two(__name__)


def apart(ours: Numbers, truth: Numbers) -> float:
    assert ours.keys() == truth.keys() and ours
    return max(float((ours[name] - truth[name]).abs().max()) for name in truth)


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_equal_one(world: list[dict[str, Numbers]], name: str) -> None:
    truth = run(name)
    assert len({float(truth[f"loss {step}"]) for step in range(STEPS)}) == STEPS
    for found in world:
        assert apart(found[name], truth) < 1e-12


@pytest.mark.parametrize("twin", TWINS)
def test_broken_twins_are_caught(world: list[dict[str, Numbers]], twin: str) -> None:
    truth = run(TWINS[twin][0])
    for found in world:
        assert apart(found[twin], truth) > 1e-6


@pytest.mark.parametrize("name", ["s4l", "uda"])
def test_micro_batches_with_unequal_numbers_of_labels_are_the_whole_batch(name: str) -> None:
    accelerator = Accelerator(cpu=True)

    def step(micro: int, coupled: bool = True) -> Tensor:
        torch.manual_seed(0)
        task, batch = EXAMPLES[name][1]()
        task.double().train().coupled = coupled
        GradientStep(accelerator, task, task, micro)(batch)
        return torch.cat([p.grad.flatten() for p in task.parameters() if p.grad is not None])

    assert torch.allclose(step(2), step(0), rtol=0, atol=1e-12)
    assert not torch.allclose(step(2, coupled=False), step(0), rtol=0, atol=1e-6)  # the broken twin: a mean of means
