"""The learning rate that each update of a whole run really had, however the batch is cut."""

from pathlib import Path

import pytest

from tests.trainers.runs import Plan, fail, run
from tests.trainers.test_optim import closed_form
from tests.trainers.toys import metrics_of


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("pieces", [1, 4])
def test_the_rate_of_each_update_is_the_closed_form(tmp_path: Path, processes: int, pieces: int) -> None:
    cfg = {"micro_batch": 0 if pieces == 1 else 8 // processes // pieces, "warmup": 0.25, "final_lr": 0.1}
    outcome = run(Plan(tmp_path / "run", cfg, task_options={"idle": False}), processes)
    rates = [line["lr"] for line in metrics_of(tmp_path / "run")]
    wanted = closed_form("cosine", 0.05, 0.1, 5, 20)
    assert rates == pytest.approx(wanted, rel=0, abs=1e-9)
    # The broken twin: a schedule that is advanced once for each process or micro-batch.
    assert rates[:10] != pytest.approx(wanted[::2], rel=0, abs=1e-9)
    assert outcome["updates"] == 20


@pytest.mark.parametrize("processes", [1, 2])
def test_a_part_with_a_rate_of_its_own_keeps_it_in_every_update_and_after_a_kill(
    tmp_path: Path, processes: int
) -> None:
    cfg = {"warmup": 0.25, "final_lr": 0.1, "weight_decay": 0.0, "clip_norm": 0.0}
    plan = Plan(tmp_path / "run", cfg, "Paced", {"updates": 20}, fault="kill", calls=(9,))
    assert -9 in fail(plan, processes)
    places = run(plan.but(fault=""), processes)["weights"]["places"]
    moved = -places.diff(dim=0) * (1 + 1e-6)  # (20, 2); AdamW's eps is 1e-6
    wanted = closed_form("cosine", 0.05, 0.1, 5, 20)
    assert moved[:, 0].tolist() == pytest.approx(wanted, rel=0, abs=1e-12)
    assert moved[:, 1].tolist() == pytest.approx([0.1 * rate for rate in wanted], rel=0, abs=1e-12)
    assert moved[:, 1].tolist() != pytest.approx(wanted, rel=0, abs=1e-6)  # the broken twin: one rate for all
