"""Signals, bad numbers and dying processes: every rank does the same thing at the same step, and nobody hangs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.trainers import runs
from tests.trainers.runs import Plan, fail, finish, run, said, start, steps_on_disk
from tests.trainers.test_resume import finished, same
from tests.trainers.toys import distance, metrics_of

BUSY = {"idle": False}  # every weight has a gradient, as DDP wants it


@pytest.mark.parametrize(("processes", "rank"), [(1, None), (2, None), (2, 1)])
def test_a_request_to_stop_saves_and_the_run_goes_on(tmp_path: Path, processes: int, rank: int | None) -> None:
    whole = finished(Plan(tmp_path / "whole", task_options=BUSY), processes)
    plan = Plan(tmp_path / "run", task_options=BUSY, fault="terminate", where="forward", calls=(8,), rank=rank)
    assert fail(plan, processes) == [143] * processes
    assert steps_on_disk(plan)[0] == 8 and "Stopped at step 8 of 20 and saved" in said(plan)
    assert same(whole, finished(plan.but(fault=""), processes))


@pytest.mark.parametrize(("task", "processes"), [("Single", 1), ("Single", 2), ("Paired", 2)])
def test_a_bad_step_is_skipped_by_all(tmp_path: Path, task: str, processes: int) -> None:
    cfg = {"micro_batch": 2, "save_every": 1, "steps": 8}
    options = BUSY if task == "Single" else {}
    plan = Plan(tmp_path / "run", cfg, task, options, fault="nan", calls=(4, 6), rank=processes - 1)
    outcome = run(plan, processes)
    if task == "Single":
        assert outcome["updates"] == 6, "after_step is called once an update, and not at all for a skipped one"
        before = run(plan.but(out=tmp_path / "before", cfg=cfg | {"steps": 3}, fault=""), processes)
        skipped = run(plan.but(out=tmp_path / "skipped", cfg=cfg | {"steps": 4}, fault=""), processes)
        assert before["updates"] == 3 and skipped["updates"] == 4
    losses = [line["loss"] for line in metrics_of(plan.out)]
    assert [step for step, loss in enumerate(losses, 1) if loss is None] == [4, 6]
    assert [said(plan).count(f"Step {step}: the loss or its gradient is not finite") for step in (4, 5, 6)] == [1, 0, 1]
    assert "skipped (1 in a row)" in said(plan) and "2 in a row" not in said(plan)


def test_a_skipped_step_moves_nothing(tmp_path: Path) -> None:
    cfg = {"save_every": 1, "keep": 9, "steps": 6}
    plan = Plan(tmp_path / "run", cfg, task_options=BUSY, fault="nan", calls=(4,), rank=1)
    run(plan, 2)
    names = ("task.safetensors", "optimizer.safetensors")
    for name in names:
        files = [plan.out / "checkpoints" / f"step-0000000{step}" / name for step in (3, 4, 5)]
        third, fourth, fifth = (load_file(file) for file in files)
        assert distance(third, fourth) == 0
        assert distance(fourth, fifth) > 1e-6


def test_bad_steps_in_a_row_end_the_run(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", {"max_bad_steps": 3}, fault="nan", calls=(2, 5, 6, 7, 8))
    assert fail(plan) == [1]
    assert "FloatingPointError: 3 steps in a row" in said(plan) and "the last at step 7" in said(plan)
    assert steps_on_disk(plan) == [6, 3]
    # Interrupted after two bad steps in a row, the third still ends it.
    plan = Plan(tmp_path / "again", {"max_bad_steps": 3}, fault="nan", calls=(5, 6))
    run(plan.but(cfg={"max_bad_steps": 3, "steps": 6}))
    plan = plan.but(cfg={"max_bad_steps": 3, "steps": 9, "resume": "anyway"}, calls=(1,))
    assert fail(plan) == [1] and "3 steps in a row" in said(plan)


class Running(runs.toys.Single):
    """Its buffer remembers what it saw, and so a NaN too."""

    def forward(self, batch: runs.toys.Batch) -> dict[str, runs.toys.Tensor]:
        out = super().forward(batch)
        self.drift.lerp_(out["loss"].detach(), 0.5)
        return out


def test_a_buffer_gone_bad_ends_the_run(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", task="Running", fault="nan", calls=(5,))
    (code,) = finish(start(plan, then=with_running))
    assert code == 1 and "Step 5: the buffer drift is no longer finite" in said(plan)


def with_running(plan: Plan) -> object:
    runs.toys.Running = Running  # type: ignore[attr-defined]
    return runs.execute(plan)


def test_evaluation_leaves_the_task_in_train_mode(tmp_path: Path) -> None:
    whole = finished(Plan(tmp_path / "whole"))
    weights, metrics = finished(Plan(tmp_path / "run", {"evaluate_every": 5}, evaluate=True))
    assert [line["step"] for line in metrics if "eval/step" in line] == [5, 10, 15, 20]
    assert same(whole, (weights, [line for line in metrics if "loss" in line])), "the task asserts training itself"
    still = finished(Plan(tmp_path / "still", task_options={"dropout": 0.0}))
    assert not same(whole, still), "dropout must matter"


@pytest.mark.parametrize("where", ["collate", "after_step"])
def test_a_loader_worker_s_death_is_told(tmp_path: Path, where: str) -> None:
    plan = Plan(tmp_path / "run", {"workers": 2}, fault="kill", where=where, calls=(4,))
    codes = fail(plan)
    if where == "collate":  # in a worker; after_step, its broken twin, is the process itself
        assert codes == [1] and "DataLoader worker" in said(plan) and "Killed" in said(plan)
    else:
        assert codes == [-9] and "DataLoader worker" not in said(plan)


def launched(plan: Plan, options: dict[str, object], *launcher: str, **variables: str) -> tuple[int, str]:
    """Run a plan under a launcher: exit code and all that was said."""
    file = plan.out.with_name(f"{plan.out.name}.json")
    file.write_text(json.dumps({"out": str(plan.out), **options}))
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | {
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": str(root),
        "TMPDIR": str(plan.out.parent),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", *launcher, str(Path(runs.__file__)), str(file)],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.mark.parametrize("fault", ["kill", "raise"])
@pytest.mark.slow
def test_the_launcher_ends_when_a_rank_does(tmp_path: Path, fault: str) -> None:
    plan = Plan(tmp_path / "run")
    options = {"task_options": BUSY, "fault": fault, "where": "forward", "calls": [4], "rank": 1}
    code, output = launched(plan, options, *TORCHRUN, OMP_NUM_THREADS="1")
    assert code != 0 and steps_on_disk(plan) == [3]
    assert ("Signal 9 (SIGKILL)" if fault == "kill" else "the guilty line") in output


@pytest.mark.parametrize("fault", ["kill", "raise"])
def test_the_other_rank_ends_when_one_does(tmp_path: Path, fault: str) -> None:
    plan = Plan(tmp_path / "run", task_options=BUSY, fault=fault, where="forward", calls=(4,), rank=1)
    codes = fail(plan, 2)  # within 15 seconds of the first, or it fails
    assert codes[1] == (-9 if fault == "kill" else 1) and codes[0] != 0
    assert steps_on_disk(plan) == [3]
    assert fault == "kill" or "the guilty line" in said(plan, 1)


@pytest.mark.slow
def test_a_stopped_rank_is_given_up(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", {"timeout": 8.0, "steps": 5000}, task_options=BUSY)
    ranks = start(plan, 2)
    while not steps_on_disk(plan):
        assert all(process.is_alive() for process in ranks), said(plan)
        ranks[0].join(0.1)
    os.kill(ranks[1].pid or 0, signal.SIGSTOP)
    ranks[0].join(30.0)
    try:
        assert ranks[0].exitcode not in (None, 0)
    finally:
        ranks[1].kill()
        finish(ranks)


def test_processes_that_train_different_things_are_refused(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", {"steps": 2}, task_options=BUSY, apart=True)
    assert all(fail(plan, 2))
    assert all("tokenizer was 0 and is 1 elsewhere" in said(plan, rank) for rank in (0, 1))
    assert run(plan.but(out=tmp_path / "alike", apart=False), 2)["updates"] == 2
