"""Gradients of one global batch, in one forward pass or in many, on one process or on many: always the same ones."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainers.loader import Batch


class GradientStep:
    """Fills `.grad` of the task's parameters with the gradient of the mean loss over the global batch.

    * A task whose examples do not meet in the loss accumulates micro-batches. Where its output has a "count" (tokens,
      frames), "loss" is the mean over that many items and the result is the mean over the global count.
    * A coupled task (`task.coupled`) is cached instead (GradCache: Gao et al. 2021, arXiv 2101.06983), so that each
      row still meets every other: `embed` without graph, `loss_from` on the joined embeddings, then `embed` again,
      chunk by chunk, under the same random numbers, with the embeddings' gradients pushed through.
    """

    def __init__(self, accelerator: Accelerator, model: nn.Module, task: Any, micro_batch: int) -> None:
        self._accelerator, self._model, self._task = accelerator, model, task
        self._micro = micro_batch
        self._sharded = any(isinstance(parameter, DTensor) for parameter in task.parameters())
        if micro_batch:
            _refuse_batch_norm(task)
            if task.coupled:
                _refuse_one_piece(task)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients into `.grad`; returns the detached scalars of `forward`, as means over the process's rows."""
        rows = _rows(batch)
        if not self._micro or self._micro >= rows:
            return self._accumulate([batch], rows)
        chunks = list(_split(batch, self._micro))
        return self._cache(chunks) if self._task.coupled else self._accumulate(chunks, rows)

    def _accumulate(self, chunks: list[Batch], rows: int) -> dict[str, Tensor]:
        scalars: list[dict[str, Tensor]] = []
        counted = None
        for place, chunk in enumerate(chunks):
            last = place == len(chunks) - 1
            with _synchronised(self._accelerator, self._model, last):
                with self._accelerator.autocast():
                    out = self._model(chunk)
                count = out.pop("count", None)
                if count is None:
                    weight = torch.tensor(_rows(chunk) / rows, dtype=torch.float64)
                else:
                    # Divided by rows only to keep half-precision gradients in range; undone below.
                    weight = count.detach().double() / rows
                    counted = weight if counted is None else counted + weight
                self._accelerator.backward(out["loss"] * weight.to(out["loss"]))
            scalars.append({name: value.detach() * weight.to(value) for name, value in out.items()})
        if self._sharded:
            _average_gradients(self._model, self._accelerator.num_processes)
        total = {name: torch.stack([s[name] for s in scalars]).sum(0) for name in scalars[0]}
        if counted is not None:
            # Every rank now holds the rank-mean of sum(loss * count) / rows: make it the mean over the global count.
            everyone = self._accelerator.reduce(counted, "sum")
            scale = self._accelerator.num_processes / everyone
            for parameter in self._model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(scale.to(parameter.grad))
            total = {name: value * scale.to(value) for name, value in total.items()}
        return total

    def _cache(self, chunks: list[Batch]) -> dict[str, Tensor]:
        task, accelerator = self._task, self._accelerator
        with accelerator.no_sync(self._model):
            states, parts = [], []
            with torch.no_grad(), accelerator.autocast():
                for chunk in chunks:
                    states.append(_random_state())
                    parts.append(task.embed(chunk))
            leaves = [torch.cat(part) for part in zip(*parts, strict=True)]
            for leaf in leaves:
                if leaf.is_floating_point():
                    leaf.requires_grad_()
            with accelerator.autocast():
                out = task.loss_from(*leaves)
            accelerator.backward(out["loss"])
            offset = 0
            for chunk, state in zip(chunks, states, strict=True):
                _set_random_state(state)
                with accelerator.autocast():
                    again = task.embed(chunk)
                here = slice(offset, offset + _rows(chunk))
                pairs = [
                    (e, leaf.grad[here])
                    for e, leaf in zip(again, leaves, strict=True)
                    if e.requires_grad and leaf.grad is not None  # not of a frozen tower, nor of ids
                ]
                # Not accelerator.backward: the kept gradients are already loss-scaled.
                if pairs:
                    torch.autograd.backward([e for e, _ in pairs], [g for _, g in pairs])
                offset = here.stop
        _average_gradients(self._model, accelerator.num_processes)
        return {name: value.detach() for name, value in out.items()}


def _average_gradients(model: nn.Module, processes: int) -> None:
    """DDP's mean, for whole gradients made outside its hooks; sharded ones were reduced on the way."""
    if processes == 1:
        return
    local = [p.grad for p in model.parameters() if p.grad is not None and not isinstance(p.grad, DTensor)]
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for gradient in local:
        by_dtype.setdefault(gradient.dtype, []).append(gradient)
    for gradients in by_dtype.values():
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= processes
        for gradient, piece in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(piece.view_as(gradient))


def _refuse_one_piece(task: nn.Module) -> None:
    for half in ("embed", "loss_from"):
        if not hasattr(task, half):
            raise ValueError(
                f"train.micro_batch cannot be used: {type(task).__name__} is a coupled task without {half}; set "
                "train.micro_batch 0."
            )


def _refuse_batch_norm(task: nn.Module) -> None:
    for name, module in task.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"train.micro_batch cannot be used: {name} is a batch norm, whose statistics would come from "
                "micro-batches; set train.micro_batch 0."
            )


def _synchronised(accelerator: Accelerator, model: nn.Module, last: bool) -> Any:
    return torch.enable_grad() if last else accelerator.no_sync(model)


def _rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _split(batch: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, _rows(batch), size):
        yield {name: tensor[start : start + size] for name, tensor in batch.items()}


def _random_state() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
