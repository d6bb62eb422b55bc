"""Gradients on one process: in micro-batches they are those of the whole batch, cached or accumulated."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from tests.trainers.toys import Batch, Counted, Paired, Rows, Single, collate, distance, gradients_of
from trainers import step as step_module
from trainers.order import row_seeds
from trainers.step import GradientStep


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def batch_of(rows: int) -> Batch:
    return collate([Rows(rows)[row] for row in range(rows)], row_seeds(0, 0, rows))


def taken(accelerator: Accelerator, task: nn.Module, batch: Batch, micro: int) -> tuple[Batch, Batch]:
    """Gradients and scalars of one step."""
    task.zero_grad()
    torch.manual_seed(1)
    scalars = GradientStep(accelerator, task, task, micro)(batch)
    assert not any(value.requires_grad for value in scalars.values())
    return gradients_of(task), scalars


def test_accumulated_gradients_are_the_whole_batch_s(accelerator: Accelerator) -> None:
    torch.manual_seed(0)
    task, batch = Single(dropout=0.0), batch_of(12)
    whole, scalars = taken(accelerator, task, batch, 0)
    assert "idle" not in whole
    for micro in (1, 2, 3, 4, 6, 12):
        pieces, means = taken(accelerator, task, batch, micro)
        assert distance(whole, pieces) < 1e-12
        assert distance(scalars, means) < 1e-12
    task.zero_grad()
    for start in (0, 4, 8):  # the broken twin: the pieces' losses are added, not averaged
        task({name: tensor[start : start + 4] for name, tensor in batch.items()})["loss"].backward()
    assert distance(whole, gradients_of(task)) > 1e-3


def test_a_loss_over_tokens_is_the_mean_over_all_of_them(accelerator: Accelerator) -> None:
    torch.manual_seed(0)
    task, batch = Counted(), batch_of(12)
    loss = task(batch)["loss"]
    loss.backward()
    wanted = gradients_of(task)
    for micro in (0, 1, 3, 4, 6):
        pieces, means = taken(accelerator, task, batch, micro)
        assert distance(wanted, pieces) < 1e-12
        assert abs(means["loss"] - loss) < 1e-12 and "count" not in means
    task.zero_grad()
    for start in range(0, 12, 3):  # the broken twin: the mean of the pieces' means
        (task({name: tensor[start : start + 3] for name, tensor in batch.items()})["loss"] / 4).backward()
    assert distance(wanted, gradients_of(task)) > 1e-3


def test_cached_gradients_are_the_whole_batch_s(accelerator: Accelerator) -> None:
    torch.manual_seed(0)
    task, batch = Paired(), batch_of(12)
    whole, scalars = taken(accelerator, task, batch, 0)
    assert {"log_scale", "one.0.weight", "two.3.bias"} <= whole.keys()
    for micro in (1, 3, 4, 6, 12):
        pieces, means = taken(accelerator, task, batch, micro)
        assert distance(whole, pieces) < 1e-12
        assert distance(scalars, means) < 1e-12
    task.zero_grad()
    for start in range(0, 12, 3):  # the broken twin: plain accumulation, with fewer negatives
        (task({name: tensor[start : start + 3] for name, tensor in batch.items()})["loss"] / 4).backward()
    assert distance(whole, gradients_of(task)) > 1e-3


def test_cached_dropout_is_replayed(accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    task, batch = Paired(dropout=0.5), batch_of(12)
    cached, scalars = taken(accelerator, task, batch, 3)
    task.zero_grad()
    torch.manual_seed(1)
    chunks = [{name: tensor[start : start + 3] for name, tensor in batch.items()} for start in range(0, 12, 3)]
    parts = [task.embed(chunk) for chunk in chunks]
    loss = task.loss_from(*(torch.cat(part) for part in zip(*parts, strict=True)))["loss"]
    loss.backward()
    assert distance(gradients_of(task), cached) < 1e-12
    assert abs(scalars["loss"] - loss.detach()) < 1e-12
    monkeypatch.setattr(step_module, "_set_random_state", lambda state: None)
    unreplayed, _ = taken(accelerator, task, batch, 3)  # the broken twin
    assert distance(gradients_of(task), unreplayed) == 0 and distance(cached, unreplayed) > 1e-3


class Frozen(Paired):
    """One tower takes no gradient, and a float goes through `embed` untouched."""

    def __init__(self) -> None:
        super().__init__()
        self.two.requires_grad_(False)

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:  # type: ignore[override]
        return *super().embed(batch), batch["y"].mean(1)

    def loss_from(self, one: Tensor, two: Tensor, ids: Tensor, weight: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        out = super().loss_from(one, two, ids)
        return out | {"loss": out["loss"] * weight.exp().mean()}


def test_a_frozen_tower_and_untouched_members_of_embed_pass(accelerator: Accelerator) -> None:
    torch.manual_seed(0)
    task, batch = Frozen(), batch_of(12)
    whole, _ = taken(accelerator, task, batch, 0)
    assert distance(whole, taken(accelerator, task, batch, 4)[0]) < 1e-12
    assert not any(name.startswith("two") for name in whole)


def test_batch_norm_and_tasks_in_one_piece_are_refused(accelerator: Accelerator) -> None:
    task = Paired()
    task.one.append(nn.BatchNorm1d(8))
    with pytest.raises(ValueError, match=r"micro_batch cannot be used: one\.4 is a batch norm"):
        GradientStep(accelerator, task, task, 4)
    GradientStep(accelerator, task, task, 0)
    accumulated = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    accumulated.coupled = False  # type: ignore[assignment]
    with pytest.raises(ValueError, match="micro_batch cannot be used: 1 is a batch norm"):
        GradientStep(accelerator, accumulated, accumulated, 4)
    whole = nn.Linear(2, 2)
    whole.coupled = True  # type: ignore[assignment]
    with pytest.raises(ValueError, match="Linear is a coupled task without embed"):
        GradientStep(accelerator, whole, whole, 4)


def peak_kept(work: Callable[[], Any], there: set[int]) -> int:
    """Most bytes that autograd kept for backward at one time, beside the storages that are `there` anyway."""
    alive = peak = 0
    seen = set(there)

    def forget(storage: int, size: int) -> None:
        nonlocal alive
        seen.discard(storage)
        alive -= size

    def keep(tensor: Tensor) -> Tensor:
        nonlocal alive, peak
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            alive += storage.nbytes()
            peak = max(peak, alive)
            kept = tensor.detach()
            weakref.finalize(kept, forget, storage.data_ptr(), storage.nbytes())
            return kept
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    gc.collect()
    return peak


@pytest.mark.parametrize("kind", [Paired, Single])
def test_micro_batches_keep_a_quarter_of_the_memory(accelerator: Accelerator, kind: type[nn.Module]) -> None:
    task = Paired(width=1024) if kind is Paired else Single()  # wide beside the (256, 256) of its loss
    batch = batch_of(256)
    there = {tensor.untyped_storage().data_ptr() for tensor in (*task.parameters(), *task.buffers(), *batch.values())}
    plain = peak_kept(lambda: taken(accelerator, task, batch, 0), there)
    micro = peak_kept(lambda: taken(accelerator, task, batch, 32), there)
    assert plain > 256 * 8 * 8
    assert micro <= plain / 4, (micro, plain)


def test_scalars_are_weighted_like_the_loss_and_have_no_graph(accelerator: Accelerator) -> None:
    torch.manual_seed(0)
    task, batch = Counted(), batch_of(4)  # rows of 1, 2, 3 and 4 tokens; "first" is the first row of each piece
    _, scalars = taken(accelerator, task, batch, 2)
    first, third = (float(task({n: t[i : i + 1] for n, t in batch.items()})["loss"].detach()) for i in (0, 2))
    assert float(scalars["first"]) == pytest.approx((first * 3 + third * 7) / 10, abs=1e-12)
