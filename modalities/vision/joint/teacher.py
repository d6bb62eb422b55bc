"""Teachers: copies of a network that follow it slowly instead of learning (mean teacher, arXiv 1703.01780)."""

import copy
import math
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def teacher_of(student: M) -> M:
    """A copy that gets no gradient. As a submodule of the task, it is in every checkpoint."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's weights to momentum * teacher + (1 - momentum) * student, in place.

    To be called once per update, in `after_step`. Running statistics of batch norms are not touched: they are those of
    what the teacher itself has seen. Weights that are sharded alike stay so: all arithmetic is local.
    """
    of_teacher, of_student = list(teacher.parameters()), list(student.parameters())
    assert len(of_teacher) == len(of_student)
    torch._foreach_lerp_(of_teacher, of_student, 1.0 - momentum)


def cosine_momentum(start: float, progress: float) -> float:
    """BYOL's schedule (2006.07733): from `start` to 1 along half a cosine; progress in [0, 1]."""
    return 1.0 - (1.0 - start) * (math.cos(math.pi * progress) + 1.0) / 2.0
