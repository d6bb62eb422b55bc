"""Batch norm over the whole batch of all processes, so that two processes train as one does.

`torch.nn.SyncBatchNorm` does this on CUDA only and takes another class name; this one is a `BatchNorm2d` with the same
weights and buffers, on any device, and its gradient is exact (see `objectives.gather`).
"""

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
