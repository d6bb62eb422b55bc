"""torch.compile for the parts of a task, in place: names in checkpoints and published folders stay as they are."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def compile_parts(task: nn.Module) -> None:
    """Compile the call of every direct submodule with parameters: encoder, heads, teacher.

    What stands around them stays as written: views, collectives, and state that a forward pass keeps for later.
    """
    for part in task.children():
        if any(True for _ in part.parameters()):
            part.compile()


def leave_parts(task: nn.Module) -> None:
    """Undo `compile_parts`."""
    for part in task.children():
        part._compiled_call_impl = None


def as_written(compiled: bool) -> AbstractContextManager[object]:
    """Run modules uncompiled inside: an evaluation has other shapes, and would be compiled for nothing."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
