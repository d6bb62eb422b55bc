"""Weights split over two processes (FSDP2 on gloo) give what one process with whole weights gives."""

from pathlib import Path

import pytest

from tests.trainers.runs import Plan, fail, run, said, steps_on_disk
from tests.trainers.toys import distance, metrics_of

CFG = {"steps": 8, "clip_norm": 0.05}  # every step is clipped, so the norm must be of the whole gradient


def losses(plan: Plan) -> list[float]:
    return [line["loss"] for line in metrics_of(plan.out)]


@pytest.mark.parametrize(("task", "micro"), [("Counted", 2), ("Paired", 0), ("Paired", 2)])
def test_split_weights_train_like_whole_ones(tmp_path: Path, task: str, micro: int) -> None:
    plain = Plan(tmp_path / "plain", CFG, task)
    split = Plan(tmp_path / "split", CFG | {"shard": True, "micro_batch": micro}, task)
    whole, parts = run(plain), run(split, 2)
    assert max(abs(a - b) for a, b in zip(losses(plain), losses(split), strict=True)) < 1e-12
    assert distance(whole["weights"], parts["weights"]) < 1e-12
    other = run(plain.but(out=tmp_path / "other", cfg=CFG | {"clip_norm": 0.06}))
    assert distance(other["weights"], parts["weights"]) > 1e-6, "the comparison would not notice another norm"


def test_split_weights_resume_bit_for_bit_and_on_one_process(tmp_path: Path) -> None:
    cfg = CFG | {"shard": True, "save_every": 3}
    whole = run(Plan(tmp_path / "whole", cfg, "Paired"), 2)
    plan = Plan(tmp_path / "run", cfg, "Paired", fault="kill", where="forward", calls=(6,))
    fail(plan, 2)
    assert steps_on_disk(plan)[0] == 3
    assert distance(whole["weights"], run(plan.but(fault=""), 2)["weights"]) == 0
    alone = Plan(tmp_path / "alone", cfg, "Paired", fault="kill", where="forward", calls=(6,))
    fail(alone, 2)
    plain = alone.but(fault="", cfg=cfg | {"shard": False})
    assert distance(whole["weights"], run(plain)["weights"]) < 1e-12


def test_one_process_has_nothing_to_split(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", {"shard": True})
    fail(plan)
    assert "train.shard splits weights over processes and there is one" in said(plan)
