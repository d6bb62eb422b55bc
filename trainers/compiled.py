"""torch.compile for the parts of a task, in place: names in checkpoints and published folders stay as they are."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def compile_parts(task: nn.Module) -> None:
    """Compile the call of every direct submodule with parameters: encoder, heads, teacher; of a dict or list of modules
    that of each.

    What stands around them stays as written: views, collectives, and state that a forward pass keeps for later.
    """
    for part in _parts(task):
        if any(True for _ in part.parameters()):
            part.compile()


def leave_parts(task: nn.Module) -> None:
    """Undo `compile_parts`."""
    for part in _parts(task):
        part._compiled_call_impl = None


def _parts(task: nn.Module) -> Iterator[nn.Module]:
    for part in task.children():
        if isinstance(part, (nn.ModuleDict, nn.ModuleList)):  # which nobody calls
            yield from _parts(part)
        else:
            yield part


def as_written(compiled: bool) -> AbstractContextManager[object]:
    """Run modules uncompiled inside: an evaluation has other shapes, and would be compiled for nothing."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
