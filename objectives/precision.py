"""Losses in full precision: half-precision inputs become fp32 and autocast stops at the objective's door.

A product of unit vectors rounded to bf16 and multiplied by a scale of 100 is off by up to 0.2 before the softmax
sees it, so the product counts as part of the softmax here. fp64 stays fp64.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def widen(value: Any) -> Any:
    """fp16 and bf16 tensors as fp32; everything else as it is."""
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    return value


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` on widened arguments with autocast off. At least one argument must be a tensor."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> R:
        device = next(a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(widen, args), **{name: widen(value) for name, value in kwargs.items()})

    return cast(Callable[P, R], wrapped)
