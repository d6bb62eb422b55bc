"""Checkpoints hold everything, are whole or not there, and one loads at every instant."""

import errno
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from tests.trainers.runs import Plan, execute, fail, finish, run, said, start, steps_on_disk
from tests.trainers.toys import Rows, Single, collate, distance, state_of
from trainers import checkpoint, folder
from trainers.config import TrainConfig
from trainers.optim import build_optimizer
from trainers.order import row_seeds

Optimizer = torch.optim.Optimizer


def trained(steps: int = 3, optimizer: str = "adamw", seed: int = 0) -> tuple[Single, Optimizer]:
    torch.manual_seed(seed)
    task = Single()
    own = build_optimizer(task, TrainConfig(optimizer=optimizer))  # type: ignore[arg-type]
    for _ in range(steps):
        update(task, own)
    return task, own


def update(task: Single, optimizer: Optimizer) -> None:
    torch.manual_seed(7)
    optimizer.zero_grad()
    task(collate([Rows(8)[row] for row in range(8)], row_seeds(0, 0, 8)))["loss"].backward()
    optimizer.step()
    task.after_step(0.5)


def saved(where: Path, step: int, keep: int = 2, optimizer: str = "adamw") -> tuple[Single, Optimizer]:
    task, own = trained(step, optimizer)
    checkpoint.save(where, step, task, own, {"note": step}, main=True, keep=keep)
    return task, own


def slots(task: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    return {f"{n}/{s}": v.clone() for n, p in task.named_parameters() for s, v in optimizer.state.get(p, {}).items()}


def newest_whole(where: Path) -> int:
    """Step of the checkpoint that a resume would take, after really loading it."""
    whole = next(found for found in checkpoint.checkpoints(where) if checkpoint.damage(found) is None)
    task, optimizer = trained(1, seed=1)
    state = checkpoint.load(whole, task, optimizer)
    assert state["note"] == state["step"] == int(whole.name[-8:])
    assert distance(state_of(task), state_of(trained(state["step"])[0])) == 0
    return int(state["step"])


@pytest.mark.parametrize("optimizer", ["adamw", "lars"])
def test_everything_comes_back_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    task, own = saved(tmp_path, 3, optimizer=optimizer)
    wanted, wanted_slots = state_of(task), slots(task, own)
    assert "drift" in wanted and "drift" not in task.state_dict()
    other, others = trained(5, optimizer, seed=9)
    for tensor in (*other.parameters(), *other.buffers()):  # whatever there is, it must come back
        tensor.data.add_(1.0)
    assert distance(wanted, state_of(other)) > 0.5
    (only,) = checkpoint.checkpoints(tmp_path)
    checkpoint.load(only, other, others)
    shutil.rmtree(only)
    assert distance(wanted, state_of(other)) == 0
    assert distance(wanted_slots, slots(other, others)) == 0
    assert other.idle not in others.state, "a weight that never had a gradient has no optimizer state"
    assert other.twin.weight is other.encoder.weight and other.teacher is not other.encoder.weight
    for pair in ((task, own), (other, others)):
        update(*pair)
    assert distance(state_of(task), state_of(other)) == 0
    assert distance(slots(task, own), slots(other, others)) == 0


def test_tied_weights_are_written_once(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (only,) = checkpoint.checkpoints(tmp_path)
    assert checkpoint.read_state(only)["aliases"] == {"twin.weight": "encoder.weight"}


def test_options_are_the_configuration_s_not_the_checkpoint_s(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    task = Single()
    optimizer = build_optimizer(task, TrainConfig(weight_decay=0.7, beta2=0.5))
    checkpoint.load(checkpoint.checkpoints(tmp_path)[0], task, optimizer)
    assert optimizer.param_groups[0]["weight_decay"] == 0.7 and optimizer.param_groups[0]["betas"] == (0.9, 0.5)


def test_another_task_is_refused_by_name(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (only,) = checkpoint.checkpoints(tmp_path)
    more, fewer, wider = Single(), Single(idle=False), Single()
    more.register_buffer("queue", torch.zeros(3))
    wider.register_buffer("teacher", torch.zeros(9, 6))
    for task, message in (
        (more, r"missing \['queue'\], unknown \[\]"),
        (fewer, r"missing \[\], unknown \['idle'\]"),
        (wider, r"teacher is \(8, 6\), not \(9, 6\)"),
    ):
        with pytest.raises(ValueError, match=f"does not fit the task: {message}"):
            checkpoint.load(only, task, None)


def harms(size: int) -> dict[str, Callable[[bytes], bytes]]:
    return {
        "empty": lambda content: b"",
        "four bytes": lambda content: content[:4],
        "half": lambda content: content[: size // 2],
        "all but one": lambda content: content[:-1],
        "flipped": lambda content: content[: size // 2] + bytes([255 - content[size // 2]]) + content[size // 2 + 1 :],
    }


FILES = ("task.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


@pytest.mark.parametrize("name", FILES)
def test_any_damage_is_seen_and_told(tmp_path: Path, name: str) -> None:
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    newest = checkpoint.checkpoints(tmp_path)[0]
    file = newest / name
    content = file.read_bytes()
    for harm in harms(len(content)).values():
        file.write_bytes(harm(content))
        assert name in (checkpoint.damage(newest) or "")
        assert newest_whole(tmp_path) == 1
    file.unlink()
    assert name in (checkpoint.damage(newest) or "")
    file.write_bytes(content)
    assert checkpoint.damage(newest) is None and newest_whole(tmp_path) == 2


def test_a_required_file_that_no_manifest_lists_is_missed(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (only,) = checkpoint.checkpoints(tmp_path)
    manifest = json.loads((only / "manifest.json").read_text())
    del manifest["optimizer.safetensors"]
    (only / "manifest.json").write_text(json.dumps(manifest))
    assert checkpoint.damage(only) == "optimizer.safetensors missing"


def test_damaged_ones_do_not_count_among_those_kept(tmp_path: Path) -> None:
    for step in (2, 4):
        saved(tmp_path, step)
    (checkpoint.checkpoints(tmp_path)[0] / "state.json").write_text("")
    saved(tmp_path, 3, keep=1)  # the run went on from 2
    assert [c.name for c in checkpoint.checkpoints(tmp_path)] == ["step-00000003"]
    assert newest_whole(tmp_path) == 3


def test_only_the_newest_are_kept_and_a_damaged_twin_is_replaced(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        saved(tmp_path, step)
    assert [c.name[-1] for c in checkpoint.checkpoints(tmp_path)] == ["3", "2"]
    (checkpoint.checkpoints(tmp_path)[0] / "state.json").write_text("")
    assert newest_whole(tmp_path) == 2
    saved(tmp_path, 3)
    assert newest_whole(tmp_path) == 3


def save_twice(plan: Plan) -> dict[str, Any]:
    """Save step 1, then step 2 with the plan's fault armed; `steps` of the configuration is how many to keep."""
    from tests.trainers import runs

    saved(plan.out, 1, keep=plan.config().keep)
    task, own = trained(2)
    runs._arm(plan, runs._OWNERS[plan.where])
    checkpoint.save(plan.out, 2, task, own, {"note": 2}, main=True, keep=plan.config().keep)
    return {}


@pytest.mark.parametrize("where", ["save_file", "fsync", "rename", "rmtree"])
def test_a_kill_at_any_write_leaves_one_that_loads(tmp_path: Path, where: str) -> None:
    after = []
    for call in range(1, 20):
        plan = Plan(tmp_path / f"{call}", {"keep": 1}, fault="kill", where=where, calls=(call,))
        (code,) = finish(start(plan, then=save_twice))
        after.append(newest_whole(plan.out))
        if code == 0:
            break
        assert code == -9, said(plan)
        saved(plan.out, 3, keep=1)  # the next save clears what was left
        assert sorted(left.name for left in plan.out.iterdir()) == ["step-00000003"]
    assert code == 0 and len(after) > 2, "the fault must strike, and in the end there must be nothing left to strike"
    assert after == sorted(after) and after[-1] == 2


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), SafetensorError("I/O error: full")])
def test_a_full_disk_is_one_sentence_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    saved(tmp_path, 1, keep=1)
    calls: list[Path] = []

    def full(tensors: dict[str, Any], file: Path) -> None:
        calls.append(file)
        file.write_bytes(b"half")
        if len(calls) == 2:
            raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match=r"step 2 needs .* has .* free .* the older checkpoints are intact") as caught:
        saved(tmp_path, 2, keep=1)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert [left.name for left in tmp_path.iterdir()] == ["step-00000001"] and newest_whole(tmp_path) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB; mounting one takes a privileged user on Linux."""
    place = tmp_path / "disk"
    place.mkdir()
    command = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up_keeps_the_older_ones(small_disk: Path) -> None:
    where = small_disk / "checkpoints"
    with pytest.raises(OSError, match=r"step (\d+) needs .* the older checkpoints are intact"):
        for step in range(1, 20):
            saved(where, step, keep=99)
    left = checkpoint.checkpoints(where)
    assert len(left) > 1 and all(checkpoint.damage(one) is None for one in left)
    assert [one.name for one in left] == sorted((one.name for one in where.iterdir()), reverse=True)
    assert newest_whole(where) == len(left)


def test_space_is_asked_for_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = checkpoint.bytes_needed(Single())
    task, own = trained(1)
    checkpoint.save(tmp_path / "sizes", 1, task, own, {}, main=True, keep=1)
    tensors = sum((tmp_path / "sizes" / "step-00000001" / name).stat().st_size for name in FILES[:2])
    assert needed > 0.6 * tensors  # headers weigh much in so small a task
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 * needed))
    folder.require_space(tmp_path, 2 * needed)
    with pytest.raises(ValueError, match=r"checkpoints need .* MB and .* has .* MB free"):
        folder.require_space(tmp_path, 2 * needed + 1)
    plan = Plan(tmp_path / "run", {"keep": 2, "steps": 6})
    with pytest.raises(ValueError, match=r"checkpoints need"):
        execute(plan)  # three are needed for a start
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3 * needed))
    execute(plan)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    execute(plan.but(cfg={"keep": 2, "steps": 6, "save_every": 2}))  # those on disk leave one to go


def test_a_run_passes_over_damage_and_says_so(tmp_path: Path) -> None:
    whole = run(Plan(tmp_path / "whole"))
    plan = Plan(tmp_path / "run", fault="kill", calls=(9,))
    assert fail(plan) == [-9] and steps_on_disk(plan) == [6, 3]
    file = plan.out / "checkpoints" / "step-00000006" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    rest = run(plan.but(fault=""))
    assert "step-00000006 is damaged and passed over: optimizer.safetensors is not as it was written" in said(plan)
    assert rest["updates"] == 17 and distance(whole["weights"], rest["weights"]) == 0
    for found in checkpoint.checkpoints(plan.out / "checkpoints"):
        (found / "manifest.json").unlink()
    assert fail(plan.but(fault="")) == [1]
    assert "every checkpoint in" in said(plan) and "is damaged" in said(plan)
