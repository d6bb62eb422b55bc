"""The learning rate that each update of a whole run really had, however the batch is cut."""

from pathlib import Path

import pytest

from tests.trainers.runs import Plan, run
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
