"""Teachers: how they follow, and that they never learn."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.joint.byol import BYOL, BYOLConfig
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.teacher import cosine_momentum, follow, teacher_of
from tests.vision.joint.files import CONVNEXT, TINY_VIEWS, VIT, pictures
from tests.vision.joint.training import apart, train


def heads() -> tuple[nn.Module, nn.Module]:
    """A student that has moved on, and its teacher."""
    torch.manual_seed(0)
    student = mlp([4, 6, 3]).double()
    teacher = teacher_of(student)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(torch.randn_like(weight))
    student(torch.randn(5, 4, dtype=torch.float64))  # and has seen something: its running statistics differ
    return student, teacher


def test_following_is_the_formula_and_leaves_running_statistics_alone() -> None:
    student, teacher = heads()
    wanted = []
    for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
        pairs = zip(old.flatten().tolist(), new.flatten().tolist(), strict=True)
        wanted.append([0.9 * a + (1 - 0.9) * b for a, b in pairs])
    buffers = {name: value.clone() for name, value in teacher.named_buffers()}
    held = list(teacher.parameters())
    follow(teacher, student, 0.9)
    for found, numbers in zip(teacher.parameters(), wanted, strict=True):
        assert found.flatten().tolist() == pytest.approx(numbers, rel=0, abs=1e-12)
        assert found.flatten().tolist() != pytest.approx([10 * x for x in numbers], abs=1e-3)
    assert all(a is b for a, b in zip(held, teacher.parameters(), strict=True))  # in place
    own = dict(student.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in teacher.named_buffers())
    assert any(not torch.equal(value, own[name]) for name, value in buffers.items())


def test_at_the_ends_a_teacher_stays_or_becomes_the_student() -> None:
    student, teacher = heads()
    before = [p.clone() for p in teacher.parameters()]
    follow(teacher, student, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True))
    follow(teacher, student, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), teacher.parameters(), strict=True))
    assert not any(p.requires_grad for p in teacher.parameters()) and all(p.requires_grad for p in student.parameters())


def test_the_momentum_rises_along_half_a_cosine() -> None:
    assert [cosine_momentum(0.996, progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([0.996, 0.998, 1.0])
    steps = [1 - (1 - 0.9) * math.cos(math.pi * k / 20) ** 2 for k in range(11)]  # half-angle form
    assert [cosine_momentum(0.9, k / 10) for k in range(11)] == pytest.approx(steps, rel=0, abs=1e-12)


def byol(kind: type[BYOL] = BYOL, momentum: float = 0.8) -> BYOL:
    """Without any batch norm, so that its step may be cut into micro-batches."""
    torch.manual_seed(0)
    return kind(CONVNEXT, TINY_VIEWS, BYOLConfig(momentum, hidden=12, width=8, norm="layer")).double()


def test_a_teacher_gets_no_gradient_and_forward_does_not_move_it() -> None:
    task = byol()
    before = {name: value.clone() for name, value in task.named_parameters() if name.startswith("teacher")}
    task(pictures())["loss"].backward()
    for name, weight in task.named_parameters():
        of_teacher = name.startswith("teacher")
        # A weight of the stock pooler, which no feature passes, is frozen in the student too.
        assert (weight.grad is None) == (of_teacher or not weight.requires_grad), name
        assert not of_teacher or torch.equal(weight, before[name])
    with torch.no_grad():
        for weight in (*task.encoder.parameters(), *task.head.parameters()):
            weight.add_(1)
    task.after_step(0.0)
    moved = {name: value - before[name] for name, value in task.named_parameters() if name in before}
    assert len(before) > 10 and all(torch.allclose(d, torch.full_like(d, 0.2)) for d in moved.values())


class OncePerPass(BYOL):
    """The broken twin: the teacher follows in every forward pass, and so once per micro-batch."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        super().after_step(0.0)
        return super().forward(batch)

    def after_step(self, progress: float) -> None: ...


def test_a_teacher_moves_once_per_update_however_the_step_is_cut(tmp_path: Path) -> None:
    whole = train(byol(), tmp_path / "whole")
    cut = train(byol(), tmp_path / "cut", micro_batch=2)
    start = {name: value for name, value in byol().state_dict().items()}
    moved = {name: value for name, value in whole.items() if name.startswith("teacher")}
    assert apart(moved, {name: start[name] for name in moved}) > 1e-4
    assert apart(whole, cut) < 1e-12
    twin = train(byol(OncePerPass), tmp_path / "twin"), train(byol(OncePerPass), tmp_path / "cut twin", micro_batch=2)
    assert apart(*twin) > 1e-6


def test_batch_norms_are_not_given_micro_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = BYOL(VIT, TINY_VIEWS, BYOLConfig(hidden=12, width=8))
    with pytest.raises(ValueError, match=r"train.micro_batch cannot be used: head.1 is a batch norm"):
        train(task, tmp_path, micro_batch=2)
