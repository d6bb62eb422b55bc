"""The processes that a launcher was asked for, the threads that each has, and the precision that a device can do."""

import os
import sys
from pathlib import Path

import pytest
import torch

from tests.trainers.runs import Plan, steps_on_disk
from tests.trainers.test_processes import TORCHRUN, launched
from trainers import world
from trainers.config import TrainConfig

LAUNCH = ("accelerate.commands.launch",)


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ([], 1),
        (["--cpu", "--num_processes", "2"], 2),
        (["--num-processes=4", "--cpu"], 4),
        (["--config_file", "FILE"], 3),
        (["--config_file", "FILE", "--num_processes", "1"], 1),
        (["--config_file", "nowhere.yaml"], 1),
        (["--num_machines", "1", "--num_cpu_threads_per_process", "8"], 1),
    ],
)
def test_the_launcher_s_command_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], asked: int
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("distributed_type: MULTI_CPU\nnum_processes: 3\n")
    words = [str(file) if word == "FILE" else word for word in command]
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(world, "_launcher_command", lambda: words)
    assert world.asked_processes() == asked


def test_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert world.asked_processes() == 2
    with pytest.raises(ValueError, match=r"2 processes were asked for and 1 run; .* `torchrun --nproc_per_node 2`"):
        monkeypatch.setattr(world, "Accelerator", lambda **options: type("One", (), {"num_processes": 1}))
        world.open_world(TrainConfig(tracker="none"))


def test_precision_that_the_device_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(world, "_cpu_has_bf16", lambda: False)
    for precision in ("fp16", "bf16"):
        with pytest.raises(ValueError, match=rf"train\.precision {precision} .*; use fp32"):
            world.open_world(TrainConfig(precision=precision, tracker="none"))  # type: ignore[arg-type]
    monkeypatch.setattr(world, "_cpu_has_bf16", lambda: True)
    assert [world._mixed_precision(name) for name in ("auto", "fp32", "bf16")] == ["no", "no", "bf16"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the silent single process happens without GPUs")
def test_a_launcher_that_starts_one_of_two_processes_is_refused(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run")
    code, output = launched(plan, {}, *LAUNCH, "--cpu", "--num_processes", "2")
    assert code != 0 and not plan.out.exists()
    assert "ValueError: 2 processes were asked for and 1 run" in output
    assert "`torchrun --nproc_per_node 2` or `accelerate launch --multi_gpu --num_processes 2" in output


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available() or sys.platform != "linux", reason="cores are counted without GPUs")
def test_a_bare_launch_uses_all_cores_unless_told_otherwise(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    for variables, wanted in (({}, cores), ({"OMP_NUM_THREADS": "1"}, 1)):
        plan = Plan(tmp_path / f"run-{wanted}-{len(variables)}")
        code, output = launched(plan, {"cfg": {"steps": 2}}, *LAUNCH, **variables)
        assert code == 0, output
        assert f"threads {wanted}\n" in output


@pytest.mark.slow
def test_torchrun_and_accelerate_start_two(tmp_path: Path) -> None:
    multi = (*LAUNCH, "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0")
    for number, launcher in enumerate((TORCHRUN, multi)):
        plan = Plan(tmp_path / f"run{number}")
        options = {"cfg": {"steps": 3}, "task_options": {"idle": False}}
        code, output = launched(plan, options, *launcher, OMP_NUM_THREADS="1")
        assert code == 0, output
        assert output.count("processes 2\n") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's end is told to its child on Linux alone")
def test_a_launcher_that_is_stopped_stops_its_run(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run")
    endless = {"steps": 10**7, "log_every": 10**7, "save_every": 0}  # ends by a signal, or by the time limit
    fault = {"fault": "terminate the launcher", "where": "forward", "calls": [5]}
    code, output = launched(plan, {"cfg": endless, **fault}, *LAUNCH)
    assert code != 0 and "and saved; the same command goes on from there" in output
    assert len(steps_on_disk(plan)) == 1 and steps_on_disk(plan)[0] >= 5
