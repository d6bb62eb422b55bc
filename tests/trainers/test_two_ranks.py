"""Gradients and checkpoints of two real processes; one world is started for all of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from tests.trainers.toys import Batch, Counted, Paired, Rows, Single, collate, distance, gradients_of
from tests.world import run_in_world
from trainers import checkpoint
from trainers import step as step_module
from trainers.config import TrainConfig
from trainers.optim import build_optimizer
from trainers.order import row_seeds
from trainers.step import GradientStep
from trainers.world import open_world

N = 12
KINDS: dict[str, Callable[[], nn.Module]] = {
    "Single": lambda: Single(dropout=0.0, idle=False),  # every weight has a gradient, as DDP wants it
    "Counted": Counted,
    "Paired": Paired,
}


def built(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return KINDS[kind]()


def batch_of(start: int, stop: int) -> Batch:
    return collate([Rows(N)[row] for row in range(start, stop)], row_seeds(0, 0, N)[start:stop])


def sharded(task: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return fully_shard(task, mesh=mesh)


class Plain(nn.Module):
    """Weights that FSDP shards, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch: Batch) -> Tensor:
        return self.layers(batch["x"].float()).square().mean()


def updated(task: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    optimizer.zero_grad()
    task(batch).backward()
    optimizer.step()
    task.seen += 1  # type: ignore[operator]


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def contents(task: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    found = {name: whole(t) for name, t in (*task.named_parameters(), *task.named_buffers())}
    for name, parameter in task.named_parameters():
        found |= {f"{name}/{slot}": whole(value) for slot, value in optimizer.state[parameter].items()}
    return found


def in_two(folder: Path) -> dict[str, Any]:
    """Everything that two ranks do: gradients and scalars by task and micro-batch, then sharded checkpoints."""
    rank, world = dist.get_rank(), dist.get_world_size()
    assert world == 2
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # asked for, and not used: the world is there
    torch.set_num_threads(1)
    accelerator = open_world(TrainConfig(folder / "run", tracker="none"))
    assert accelerator.num_processes == 2
    share = batch_of(rank * N // 2, (rank + 1) * N // 2)
    found: dict[str, Any] = {}
    for kind in KINDS:
        for micro in (0, 1, 3):
            found[f"{kind} {micro}"] = stepped(accelerator, kind, share, micro)
    honest = step_module._average_gradients
    step_module._average_gradients = lambda model, processes: None
    found["unreduced"] = stepped(accelerator, "Paired", share, 3)
    step_module._average_gradients = honest

    torch.manual_seed(rank + 1)  # ranks that start apart: only loading makes them equal
    task = sharded(Plain())
    optimizer = build_optimizer(task, TrainConfig())
    assert isinstance(task.layers[0].weight, DTensor)  # type: ignore[index, union-attr]
    checkpoint.load(folder / "plain" / "step-00000002", task, optimizer)
    found["from plain"] = contents(task, optimizer)
    updated(task, optimizer, batch_of(0, N))
    checkpoint.save(folder / "sharded", 3, task, optimizer, {}, main=rank == 0, keep=1)
    found["sharded"] = contents(task, optimizer)
    dist.barrier()
    return found


def stepped(accelerator: Accelerator, kind: str, share: Batch, micro: int) -> tuple[Batch, Batch]:
    task = built(kind)
    model = accelerator.prepare(task)
    assert isinstance(model, nn.parallel.DistributedDataParallel)
    assert not model.broadcast_buffers  # a queue or a bank would travel at every step
    scalars = GradientStep(accelerator, model, task, micro)(share)
    return gradients_of(task), {name: accelerator.reduce(value.double(), "mean") for name, value in scalars.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def plain(folder: Path) -> dict[str, Tensor]:
    """A checkpoint of one process, not sharded."""
    torch.manual_seed(0)
    task = Plain()
    optimizer = build_optimizer(task, TrainConfig())
    for _ in range(2):
        updated(task, optimizer, batch_of(0, N))
    checkpoint.save(folder / "plain", 2, task, optimizer, {}, main=True, keep=1)
    return contents(task, optimizer)


@pytest.fixture(scope="module")
def ranks(folder: Path, plain: dict[str, Tensor]) -> list[dict[str, Any]]:
    return run_in_world(in_two, folder, processes=2)


def alone(kind: str) -> tuple[Batch, Batch]:
    task = built(kind)
    scalars = GradientStep(Accelerator(cpu=True), task, task, 0)(batch_of(0, N))
    return gradients_of(task), scalars


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("micro", [0, 1, 3])
def test_two_processes_have_the_gradient_of_one(ranks: list[dict[str, Any]], kind: str, micro: int) -> None:
    gradients, scalars = alone(kind)
    for found in ranks:
        assert distance(gradients, found[f"{kind} {micro}"][0]) < 1e-12
        means = found[f"{kind} {micro}"][1]
        assert abs(means["loss"] - scalars["loss"]) < 1e-12
    if kind == "Counted":  # the broken twin: the mean of the processes' means
        task = built(kind)
        for start in (0, N // 2):
            (task(batch_of(start, start + N // 2))["loss"] / 2).backward()
        assert distance(gradients, gradients_of(task)) > 1e-3


def test_the_temperature_s_gradient_is_reduced_too(ranks: list[dict[str, Any]]) -> None:
    gradients, _ = alone("Paired")
    for found in ranks:
        assert abs(found["Paired 3"][0]["log_scale"] - gradients["log_scale"]) < 1e-12
        # The broken twin: each rank keeps its own.
        assert abs(found["unreduced"][0]["log_scale"] - gradients["log_scale"]) > 1e-6


def test_sharded_and_whole_checkpoints_are_the_same(
    ranks: list[dict[str, Any]], plain: dict[str, Tensor], folder: Path
) -> None:
    for found in ranks:
        assert distance(plain, found["from plain"]) == 0
        assert distance(plain, found["sharded"]) > 1e-6
    torch.manual_seed(5)
    task = Plain()
    optimizer = build_optimizer(task, TrainConfig())
    checkpoint.load(folder / "plain" / "step-00000002", task, optimizer)
    updated(task, optimizer, batch_of(0, N))
    assert distance(contents(task, optimizer), ranks[0]["sharded"]) < 1e-6
    assert checkpoint.damage(folder / "sharded" / "step-00000003") is None
    checkpoint.load(folder / "sharded" / "step-00000003", task, optimizer)
    assert distance(contents(task, optimizer), ranks[0]["sharded"]) == 0
