"""The only training loop.

Order, views, dropout and learning rate are pure functions of (seed, step), so a checkpoint is the task, the
optimizer and a step number, and a resumed run is the uninterrupted one bit for bit.
"""

import copy
import json
import math
import signal
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device, set_seed
from torch import Tensor, nn

from trainers import checkpoint
from trainers.compiled import as_written, compile_parts, leave_parts
from trainers.config import TrainConfig
from trainers.folder import claim, require_space
from trainers.loader import Batch, Collate, Order, batches, build_order
from trainers.optim import build_optimizer, schedule
from trainers.order import GlobalOrder
from trainers.record import Record
from trainers.resume import resume, save
from trainers.schedule import learning_rate, weight_decay
from trainers.shard import clip_gradients, shard
from trainers.step import GradientStep
from trainers.stop import Collapsed, StopSignal
from trainers.world import open_world


class Trainable(Protocol):
    """What `fit` needs of a task; `modalities.task.Task` provides it. It must also be an `nn.Module`. Where parts of it
    learn at other rates than the rest, `lr_scales` and `steady` say so: see `trainers.optim.parameter_groups`. Where it
    has `resting(progress) -> weights`, an update leaves those alone; where it has `diagnose(scalars, progress) -> str`,
    a sentence from it, of the scalars that are logged, ends the run. Where it has
    `update(batch, rate) -> scalars`, that is the whole step, and the optimizer's options have no effect. Such a run
    resumes bit for bit on the CPU; on CUDA not where it calls `index_add_`, which adds in no fixed order there."""

    coupled: bool

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss": scalar, ...}: the loss and any other scalars to log."""
        ...

    def after_step(self, progress: float) -> None:
        """Called once per update; progress in (0, 1]."""
        ...


T = TypeVar("T", bound=nn.Module)


class Stopped(SystemExit):
    """The run was asked to stop, saved its state and ended; the same command goes on from there."""


def fit(
    task: T,
    data: Any,
    collate: Collate,
    cfg: TrainConfig,
    evaluate: Callable[[T, int], dict[str, float]] | None = None,
    identity: dict[str, Any] | None = None,
) -> T:
    """Train `task` on `data` and return it, on the training device and in eval mode.

    Args:
        task: see `Trainable`. With cfg.micro_batch a coupled task also needs `embed` and `loss_from`.
        data: map-style (`len`, `[]`), or a stream (iterable, with `state_dict` if it is to resume quickly).
        collate: (rows, seeds (n,) uint64) -> batch of tensors with leading dimension n. All randomness of views must
            come from seeds.
        evaluate: (task, step) -> scalars, called on every process each cfg.evaluate_every steps, in eval mode.
        identity: whatever else decides the result (task options, data fingerprint); resuming under another one is
            refused with the difference.

    Raises:
        ValueError: for options that cannot work, before any step; FloatingPointError: when the loss stays non-finite.
        Collapsed: when the task's `diagnose` says so.
        Stopped: after SIGTERM or SIGINT, with a checkpoint of the last whole step written.
    """
    accelerator = open_world(cfg)
    if accelerator.is_main_process:
        claim(cfg.out)
        there = len(checkpoint.checkpoints(cfg.out / "checkpoints"))
        require_space(cfg.out, max(1, cfg.keep + 1 - there) * checkpoint.bytes_needed(task))
    order = build_order(data, cfg, accelerator.process_index, accelerator.num_processes)
    total = _total_steps(cfg, order)
    own_step = hasattr(task, "update")
    if own_step:
        _refuse_what_own_steps_ignore(task, cfg)
    whole = copy.deepcopy(task) if cfg.shard else task
    if cfg.shard:
        shard(task, accelerator)
    # Nothing is differentiated in a task with its own step, so there is nothing for DDP to reduce.
    model: nn.Module = task if cfg.shard else task.to(accelerator.device) if own_step else accelerator.prepare(task)
    prepared = accelerator.prepare(build_optimizer(task, cfg))
    inner = accelerator.unwrap_model(model)
    take_step = None if own_step else GradientStep(accelerator, model, inner, cfg.micro_batch)
    if cfg.compile:
        compile_parts(inner)
    # As it comes back from a checkpoint's JSON: paths as text, tuples as lists.
    run = json.loads(json.dumps({"train": cfg.identity(), **(identity or {})}, default=str))
    start, bad_in_row = resume(accelerator, cfg, run, inner, prepared.optimizer, order)
    if own_step:
        _begin_alike(accelerator, inner)
    if cfg.tracker != "none":
        accelerator.init_trackers("run", {k: str(v) for k, v in asdict(cfg).items()})
    record = Record(accelerator, cfg.out / "metrics.jsonl", cfg.batch_size, start, total)
    model.train()
    with StopSignal() as stop:
        for step, batch in zip(range(start, total), batches(data, collate, order, cfg, start, total), strict=True):
            # Dropout of a step depends on nothing before it; ranks differ so that their dropout does.
            set_seed(_step_seed(cfg.seed, step, accelerator.process_index))
            rate = learning_rate(cfg, step, total)
            schedule(prepared, rate, cfg.lr, weight_decay(cfg, step, total))
            batch = send_to_device(batch, accelerator.device, non_blocking=True)
            if take_step is None:
                scalars, norm = inner.update(batch, rate), torch.zeros(())
            else:
                prepared.zero_grad(set_to_none=True)
                scalars = take_step(batch)
                for weight in inner.resting(step / total) if hasattr(inner, "resting") else ():
                    weight.grad = None
                accelerator.unscale_gradients(prepared)
                norm = clip_gradients(model.parameters(), cfg.clip_norm or math.inf)
            bad, stopping = _agree(accelerator, not _finite(scalars["loss"], norm), stop.asked)
            done = step + 1
            if bad and take_step is None:  # the weights have moved, and there is no going back
                raise FloatingPointError(
                    f"Step {done}: the loss is not finite; lower train.lr or look at the data. The last checkpoint is "
                    "intact."
                )
            if bad:
                bad_in_row += 1
                _skip(accelerator, prepared, inner, record, done, bad_in_row, cfg)
            else:
                bad_in_row = 0
                if take_step is not None:
                    prepared.step()
                inner.after_step(done / total)
            record.advance()
            if done % cfg.log_every == 0 or done == total:
                means = _means(accelerator, scalars)
                record.write(done, means | {"lr": rate, "gradient_norm": float(norm)})
                _require_health(inner, means, done, total)
            if evaluate and cfg.evaluate_every and done % cfg.evaluate_every == 0:
                model.eval()
                with as_written(cfg.compile):
                    found = evaluate(inner, done)
                record.write(done, {f"eval/{name}": value for name, value in found.items()})
                model.train()
            if done == total or stopping or (cfg.save_every and done % cfg.save_every == 0):
                save(accelerator, cfg, run, inner, prepared.optimizer, order, done, bad_in_row)
            if stopping:
                record.say(f"Stopped at step {done} of {total} and saved; the same command goes on from there.")
                record.close()
                raise Stopped(128 + signal.SIGTERM)
    record.close()
    if cfg.compile:
        leave_parts(inner)
    if cfg.shard:  # the last checkpoint has the weights whole
        checkpoint.load(checkpoint.checkpoints(cfg.out / "checkpoints")[0], whole, None)
        inner = whole.to(accelerator.device)
    trained: T = inner.eval()
    return trained


def _total_steps(cfg: TrainConfig, order: Order) -> int:
    if cfg.steps:
        return cfg.steps
    assert isinstance(order, GlobalOrder)
    return max(1, round(cfg.epochs * order.steps_per_epoch))


def _refuse_what_own_steps_ignore(task: nn.Module, cfg: TrainConfig) -> None:
    """A task with its own step has no micro-batches, and its weights stay whole and in fp32."""
    for name, wrong in (("micro_batch", cfg.micro_batch), ("shard", cfg.shard), ("compile", cfg.compile)):
        if wrong:
            raise ValueError(f"train.{name} cannot be used: {type(task).__name__} makes its own steps; leave it out.")


def _begin_alike(accelerator: Accelerator, task: nn.Module) -> None:
    """What DDP does for other tasks: every process begins with the weights and buffers of the first."""
    if accelerator.num_processes > 1:
        for tensor in (*task.parameters(), *task.buffers()):
            torch.distributed.broadcast(tensor.detach(), 0)


def _step_seed(seed: int, step: int, rank: int) -> int:
    # Three odd multipliers keep neighbouring (seed, step, rank) apart; numpy wants 32 bits.
    return (seed * 0x9E3779B1 + step * 0x85EBCA77 + rank * 0xC2B2AE3D) % 2**32


def _finite(loss: Tensor, norm: Tensor) -> bool:
    return bool(torch.isfinite(loss).all() & torch.isfinite(norm).all())


def _agree(accelerator: Accelerator, bad: bool, asked: int) -> tuple[bool, bool]:
    """Any process's bad step or stop request is everyone's, so that all act on the same step."""
    if accelerator.num_processes == 1:
        return bad, bool(asked)
    flags = torch.tensor([float(bad), float(asked > 0)], device=accelerator.device)
    flags = accelerator.reduce(flags, "sum")
    return bool(flags[0]), bool(flags[1])


def _require_health(task: Any, scalars: dict[str, float], step: int, total: int) -> None:
    found = task.diagnose(scalars, step / total) if hasattr(task, "diagnose") else ""
    if found:
        raise Collapsed(f"Step {step} of {total}: {found} Checkpoints of earlier steps are intact.")


def _skip(
    accelerator: Accelerator, optimizer: Any, task: nn.Module, record: Record, step: int, in_row: int, cfg: TrainConfig
) -> None:
    """Pass over a step whose loss or gradient is not finite: no weight and no state of the method moves."""
    if accelerator.scaler is not None:
        optimizer.step()  # skips by itself and lowers the loss scale
    else:
        record.say(f"Step {step}: the loss or its gradient is not finite; skipped ({in_row} in a row).")
    for name, buffer in task.named_buffers():
        if buffer.is_floating_point() and not torch.isfinite(buffer).all():
            raise FloatingPointError(
                f"Step {step}: the buffer {name} is no longer finite, so the run cannot recover; look at the data or "
                "lower train.lr, and resume from the last checkpoint."
            )
    if in_row >= cfg.max_bad_steps:
        raise FloatingPointError(
            f"{in_row} steps in a row had a loss or gradient that is not finite, the last at step {step}; lower "
            "train.lr or look at the data. The last checkpoint is intact."
        )


def _means(accelerator: Accelerator, scalars: dict[str, Tensor]) -> dict[str, float]:
    names = sorted(scalars)
    values = torch.stack([scalars[name].detach().double().reshape(()) for name in names])
    return dict(zip(names, accelerator.reduce(values, "mean").tolist(), strict=True))
