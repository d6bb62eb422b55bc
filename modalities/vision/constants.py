"""The numbers of a formula as tensors, built once for each device and type: a GPU would wait for every copy of them."""

from functools import cache

import torch
from torch import Tensor

Numbers = tuple[float, ...] | tuple[tuple[float, ...], ...]


def constant(numbers: Numbers, like: Tensor) -> Tensor:
    """`numbers` with the type and on the device of `like`. Shared by all callers, so not to be changed in place."""
    return _built(numbers, like.dtype, like.device)


@cache
def _built(numbers: Numbers, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor built in that mode could take no part in training later
        return torch.tensor(numbers, dtype=dtype, device="cpu").to(device)
