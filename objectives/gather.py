"""Collectives that carry gradients: the only file of this package that knows about other processes.

Why `gather`, then a pure function, then DDP's mean of gradients is exact. Let W ranks hold B rows each, and let L be
the loss of all N = W*B rows on one process. The backward of `gather` hands each rank the *sum*, over all ranks, of
what they want changed in that rank's rows. DDP then averages parameter gradients, that is, divides by W.

(a) Every rank computes L itself, from gathered tensors only. Each of the W copies asks for dL/dx on the same rows, so
    the sum is W * dL/dx, and DDP's mean takes the W away again. A temperature receives dL/dt on every rank; the mean
    of W equal numbers is that number.
(b) Every rank computes L_r, the mean over its own B queries, against gathered keys. L is the mean of the L_r. Rank r's
    rows collect dL_r/dx through their role as queries and the sum of all dL_s/dx through their role as keys: together
    d(sum_s L_s)/dx = W * dL/dx. Again DDP's mean divides by W. The same holds for a temperature.

Both need the sum. A gather without gradient loses what the other ranks want of a row; putting the local slice back
into such a gather keeps 1/W of it. (b) costs 1/W of the arithmetic of (a) and is the form for large N.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def rank() -> int:
    """This process's number, 0 in a world of one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together, 1 where torch.distributed is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def here(x: Tensor) -> Tensor:
    """`x` itself: what objectives take in place of `gather` or `all_reduce` where nothing else is passed."""
    return x


def gather(x: Tensor) -> Tensor:
    """Concatenate every rank's `x` along dimension 0, in rank order, with gradient.

    Args:
        x: (n, ...) of any dtype. n and all other sizes must be the same on every rank: a ragged last batch has to be
            dropped or padded before. This is not checked, for a check would cost a second collective on each call.

    Returns:
        (world * n, ...). In a world of one, `x` itself.

    Every rank must call it, in the same order, and every rank must run backward through the result, for the backward
    is a collective too.
    """
    if world_size() == 1:
        return x
    if x.dim() == 0:
        raise ValueError("gather() got a tensor without dimensions; give it a row with x[None].")
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def all_reduce(x: Tensor) -> Tensor:
    """Sum every rank's `x`, with gradient: the backward sums what all ranks want of the result.

    For statistics that every rank then uses on its own rows (means of a batch norm, cross-correlations), case (b)
    above: DDP's mean makes it exact. A plain `dist.all_reduce` would lose the other ranks' part of the gradient.

    Args:
        x: (...), floating point, the same shape on every rank.

    Returns:
        The same shape, equal on every rank. In a world of one, `x` itself.

    Every rank must call it, in the same order, and run backward through the result.
    """
    if world_size() == 1:
        return x
    total: Tensor = _AllReduce.apply(x)  # type: ignore[no-untyped-call]
    return total


class _AllReduce(torch.autograd.Function):
    """Sum over ranks, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums the gradient over ranks and keeps this rank's rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        out = x.new_empty(world_size() * len(x), *x.shape[1:])
        dist.all_gather_into_tensor(out, x.contiguous())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Autograd may share `grad` with other branches, and the reduction works in place.
        total = grad.clone(memory_format=torch.contiguous_format)
        if dist.get_backend() == "nccl":
            own = total.new_empty(ctx.rows, *total.shape[1:])
            dist.reduce_scatter_tensor(own, total)
            return own
        dist.all_reduce(total)
        return total.narrow(0, rank() * ctx.rows, ctx.rows)
