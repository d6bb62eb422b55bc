"""Batch norm over the whole batch of all processes, so that two processes train as one does.

`torch.nn.SyncBatchNorm` does this on CUDA only and takes another class name; this one is a `BatchNorm2d` with the same
weights and buffers, on any device, and its gradient is exact (see `objectives.gather`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from objectives.gather import all_reduce, world_size

M = TypeVar("M", bound=nn.Module)


class _Global(nn.modules.batchnorm._BatchNorm):
    """A batch norm whose training statistics are those of all processes' rows. Shares must be of equal size."""

    def forward(self, x: Tensor) -> Tensor:
        """x (n, c, ...) -> the same shape."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        over = [0, *range(2, x.dim())]  # all dimensions but that of the channels
        shape = (-1, *[1] * (x.dim() - 2))
        # Mean first, then squares of what is left: the difference of two large sums would cancel in fp32.
        mean = all_reduce(wide.mean(over)) / world_size()  # (c,)
        centred = wide - mean.view(shape)
        var = all_reduce(centred.square().mean(over)) / world_size()  # (c,)
        if self.track_running_stats:
            self._remember(mean.detach(), var.detach(), x.numel() // x.shape[1] * world_size())
        scale = (var + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        out = centred * scale.view(shape)
        if self.bias is not None:
            out = out + self.bias.view(shape)
        return out.to(x.dtype)

    def _remember(self, mean: Tensor, var: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((var * count / max(count - 1, 1)).to(self.running_var), share)  # unbiased, as torch's


class GlobalBatchNorm2d(_Global, nn.BatchNorm2d):
    """`BatchNorm2d` of the maps (n, c, h, w) of all processes."""


class GlobalBatchNorm1d(_Global, nn.BatchNorm1d):
    """`BatchNorm1d` of the rows (n, c) of all processes."""


_GLOBAL: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: GlobalBatchNorm2d,
    nn.BatchNorm1d: GlobalBatchNorm1d,
}


def with_global_statistics(model: M) -> M:
    """Turn every `BatchNorm2d` and `BatchNorm1d` inside `model` into a global one, in place, and return the model."""
    for module in model.modules():
        module.__class__ = _GLOBAL.get(type(module), type(module))
    return model


class GroupedBatchNorm2d(GlobalBatchNorm2d):
    """`BatchNorm2d` that normalises each group of rows (of all processes) by the group's own statistics.

    Inside `in_groups` it is told the group of every row; elsewhere all rows are one group. Running statistics are
    those of all rows together. The gradient is exact on any number of processes, whose shares need not be of equal
    groups.
    """

    _groups: Tensor | None = None  # (n, g) one row's group each, one-hot

    def forward(self, x: Tensor) -> Tensor:
        """x (n, c, h, w) -> the same shape."""
        if not self.training or self._groups is None:
            return super().forward(x)
        self._check_input_dim(x)
        assert len(x) == len(self._groups), f"{len(x)} rows, but the groups of {len(self._groups)}"
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        with torch.autocast(x.device.type, enabled=False):
            member = self._groups.to(wide)  # (n, g)
            var, mean = torch.var_mean(wide, (2, 3), correction=0)  # (n, c) each, of single rows
            sums = all_reduce(member.T @ torch.cat([mean, torch.ones_like(mean[:, :1])], 1))  # (g, c + 1)
            count = sums[:, -1:].detach().clamp(min=1)  # (g, 1), of rows
            group_mean = sums[:, :-1] / count  # (g, c)
            # A group varies within its rows and between them.
            spread = var + (mean - member @ group_mean).square()  # (n, c)
            group_var = all_reduce(member.T @ spread) / count  # (g, c)
            if self.track_running_stats:
                self._remember_groups(group_mean.detach(), group_var.detach(), count, x.numel() // x.shape[1])
            scale = (group_var + self.eps).rsqrt()
            if self.weight is not None:
                scale = scale * self.weight
            shift = -group_mean * scale
            if self.bias is not None:
                shift = shift + self.bias
            rows = (-1, x.shape[1], 1, 1)
            out = torch.addcmul((member @ shift).view(rows), wide, (member @ scale).view(rows))
        return out.to(x.dtype)

    def _remember_groups(self, mean: Tensor, var: Tensor, count: Tensor, local: int) -> None:
        share = count / count.sum()  # (g, 1)
        whole = (mean * share).sum(0)  # (c,)
        spread = ((var + (mean - whole).square()) * share).sum(0)  # (c,)
        self._remember(whole, spread, local * world_size())


def with_group_statistics(model: M) -> M:
    """Turn every `GlobalBatchNorm2d` inside `model` into a grouped one, in place, and return the model."""
    for module in model.modules():
        if type(module) is GlobalBatchNorm2d:
            module.__class__ = GroupedBatchNorm2d
    return model


@contextmanager
def in_groups(model: nn.Module, groups: Tensor, count: int) -> Iterator[None]:
    """Within, the grouped batch norms of `model` take the statistics of each of `count` groups by itself.

    groups: int64 (n,), in [0, count), the group of each of this process's rows. Groups may reach over processes; one
    of a single row and a single place has no deviation, and is all zeros after a norm.
    """
    member = torch.nn.functional.one_hot(groups, count)  # (n, g)
    norms = [module for module in model.modules() if isinstance(module, GroupedBatchNorm2d)]
    for norm in norms:
        norm._groups = member
    try:
        yield
    finally:
        for norm in norms:
            norm._groups = None
