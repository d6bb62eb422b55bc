"""Interrupted runs end as uninterrupted ones do, bit for bit: weights, buffers and the loss of every step."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.runs import Plan, fail, result, run, said, steps_on_disk
from tests.trainers.toys import Single, distance, metrics_of
from trainers import checkpoint
from trainers.checkpoint import checkpoints, read_state
from trainers.config import TrainConfig
from trainers.optim import build_optimizer
from trainers.resume import _choose

ACCUMULATED = {"micro_batch": 2}


def finished(plan: Plan, processes: int = 1) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Weights at the end and the metrics of every step."""
    return run(plan, processes)["weights"], metrics_of(plan.out)


def same(left: tuple[dict[str, Any], Any], right: tuple[dict[str, Any], Any]) -> bool:
    return distance(left[0], right[0]) == 0 and left[1] == right[1]


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = finished(Plan(tmp_path / "whole", ACCUMULATED))
    assert [line["step"] for line in whole[1]] == list(range(1, 21))
    assert not same(whole, finished(Plan(tmp_path / "other", ACCUMULATED | {"seed": 1})))
    # Three kills in an epoch of five steps, two of them inside an accumulated step, and one between epochs.
    plan = Plan(tmp_path / "run", ACCUMULATED | {"save_every": 1}, fault="kill")
    for where, call, left in (("forward", 6, 1), ("collate", 3, 3), ("forward", 3, 3), ("after_step", 4, 6)):
        assert fail(plan.but(where=where, calls=(call,))) == [-9]
        assert steps_on_disk(plan)[0] == left
    assert same(whole, finished(plan.but(fault="")))
    # The broken twin: a buffer that the checkpoint did not bring back.
    assert not same(whole, ({**whole[0], "drift": whole[0]["drift"] + 1}, whole[1]))


@pytest.mark.parametrize("task", ["Single", "Paired"])
def test_two_killed_processes_end_as_uninterrupted_ones(tmp_path: Path, task: str) -> None:
    options = {"idle": False} if task == "Single" else {"dropout": 0.3}
    whole = finished(Plan(tmp_path / "whole", ACCUMULATED, task, options), 2)
    plan = Plan(tmp_path / "run", ACCUMULATED, task, options, fault="kill", where="collate", calls=(9,))
    codes = fail(plan.but(rank=1), 2)
    assert codes[1] == -9 and codes[0] != 0 and steps_on_disk(plan)[0] == 6
    assert same(whole, finished(plan.but(fault=""), 2))


@pytest.mark.parametrize("stream", [False, True])
def test_one_process_goes_on_as_two_and_two_as_one(tmp_path: Path, stream: bool) -> None:
    cfg = {"steps": 12, "shuffle_window": 13, "save_every": 4}
    plain = Plan(tmp_path / "one", cfg, task_options={"idle": False, "dropout": 0.0}, stream=stream)
    weights, metrics = finished(plain)
    pair = finished(plain.but(out=tmp_path / "two"), 2)
    changed = plain.but(out=tmp_path / "changed", fault="kill", where="collate")
    fail(changed.but(calls=(6,)))
    fail(changed.but(calls=(6,)), 2)
    last = finished(changed.but(fault=""))
    assert said(changed).count("Resumed") == 2 and len(metrics) == 12
    for other_weights, other in (pair, last):
        assert distance(weights, other_weights) < 1e-12
        for one, two in zip(metrics, other, strict=True):
            assert one["rows"] == two["rows"] and one["step"] == two["step"]
            assert one["loss"] == pytest.approx(two["loss"], abs=1e-12)
            assert one["lr"] == two["lr"]
    assert len({line["rows"] for line in metrics}) == 12, "rows must tell the steps apart"


def test_streams_resume_inside_a_window_though_workers_read_ahead(tmp_path: Path) -> None:
    cfg = {"steps": 15, "shuffle_window": 33}
    whole = finished(Plan(tmp_path / "whole", cfg, stream=True))
    plan = Plan(tmp_path / "run", cfg | {"workers": 2}, stream=True, fault="kill", where="after_step")
    for call, left in ((5, 3), (2, 3), (6, 6)):
        assert fail(plan.but(calls=(call,))) == [-9]
        assert steps_on_disk(plan)[0] == left
    assert same(whole, finished(plan.but(fault="")))


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", {"steps": 4}, identity={"data": {"rows": 40, "from": tmp_path}, "sizes": (1, 2)})
    run(plan)
    assert fail(plan.but(cfg={"steps": 4, "lr": 0.5})) == [1]
    assert "was made with other settings: train.lr was 0.05 and is 0.5. Choose another folder" in said(plan)
    assert fail(plan.but(identity={"data": {"rows": 41, "from": tmp_path}, "sizes": (1, 3)})) == [1]
    assert "data.rows was 40 and is 41; sizes was [1, 2] and is [1, 3]" in said(plan)
    assert fail(plan.but(cfg={"steps": 4, "resume": "never"})) == [1]
    assert "already holds step-00000004; remove it or choose another folder" in said(plan)
    run(plan.but(cfg={"steps": 4, "workers": 2, "log_every": 3, "keep": 1, "timeout": 20.0, "max_bad_steps": 10}))
    weights, metrics = finished(plan.but(cfg={"steps": 6, "weight_decay": 0.7, "resume": "anyway"}))
    assert [line["step"] for line in metrics] == [1, 2, 3, 4, 5, 6] and said(plan).count("Resumed") == 2
    found = checkpoints(plan.out / "checkpoints")[0]
    assert read_state(found)["run"]["train"]["weight_decay"] == 0.7
    unchanged, _ = finished(Plan(tmp_path / "unchanged", {"steps": 6}))
    assert distance(weights, unchanged) > 1e-4


def test_a_checkpoint_from_before_an_option_is_one_with_its_default(tmp_path: Path) -> None:
    cfg = TrainConfig(out=tmp_path, batch_size=8)
    then = cfg.identity()
    del then["bucket_window"]
    task = Single()
    state = {"run": {"train": then}}
    checkpoint.save(tmp_path / "c", 3, task, build_optimizer(task, cfg), state, main=True, keep=1)

    def choice(now: TrainConfig) -> str | None:
        return _choose(tmp_path / "c", now, {"train": now.identity()})

    assert choice(cfg) == "step-00000003"
    changed = TrainConfig(out=tmp_path, batch_size=8, bucket_window=3)
    assert "settings: train.bucket_window was 0 and is 3." in str(choice(changed))  # the broken twin


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("task", ["Single", "Counted", "Paired"])
def test_a_kill_at_every_step_is_survived(tmp_path: Path, task: str, processes: int) -> None:
    options = {"Single": {"idle": False}, "Counted": {}, "Paired": {"dropout": 0.3}}[task]
    whole = finished(Plan(tmp_path / "whole", ACCUMULATED, task, options), processes)
    for call in range(1, 21):
        plan = Plan(tmp_path / f"{call}", ACCUMULATED, task, options, fault="kill", where="collate", calls=(call,))
        fail(plan, processes)
        assert same(whole, finished(plan.but(fault=""), processes)), call
    assert result(plan)["weights"].keys() == whole[0].keys()
