"""Tasks that move their weights themselves: `fit` gives them order, rate, checkpoints and restarts, and no gradient."""

from pathlib import Path

import pytest
import torch

from tests.trainers.runs import Plan, fail, result, run, said
from tests.trainers.test_optim import closed_form
from tests.trainers.toys import INPUT, Rows, SelfMade, collate, distance, metrics_of, state_of
from trainers.order import GlobalOrder

CFG = {"warmup": 0.25, "final_lr": 0.1}


def by_hand(rates: list[float]) -> torch.Tensor:
    """The table after every step of the run, done here in one process."""
    table = torch.zeros(40, INPUT, dtype=torch.float64)
    for rate, ticket in zip(rates, GlobalOrder(40, 8, 0, 0, 1).from_step(0, 20), strict=True):
        batch = collate([Rows(40)[row] for row in ticket.rows], ticket.seeds)
        table[batch["id"]] -= rate * (table[batch["id"]] - batch["x"])
    return table


@pytest.mark.parametrize("processes", [1, 2])
def test_every_step_has_its_rate_and_a_killed_run_ends_as_a_whole_one(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(Plan(tmp_path / "whole", CFG, "SelfMade"), processes)["weights"]
    plan = Plan(tmp_path / "run", CFG, "SelfMade", fault="kill", where="collate", calls=(9,))
    assert -9 in fail(plan, processes)
    again = run(plan.but(fault=""), processes)["weights"]
    assert "Resumed" in said(plan) and distance(whole, again) == 0
    assert metrics_of(tmp_path / "whole") == metrics_of(plan.out)
    rates = closed_form("cosine", 0.05, 0.1, 5, 20)
    assert float((whole["table"] - by_hand(rates)).abs().max()) < 1e-12
    # The broken twin: one rate for all steps.
    assert float((whole["table"] - by_hand([0.05] * 20)).abs().max()) > 1e-3
    assert whole["progress"] == 1
    # Though each process began with a table and a buffer of its own: see the toy.
    last = result(plan.but(out=tmp_path / "whole"), processes - 1)["weights"]
    assert distance(whole, last) == 0 and last["first"] == 0
    monkeypatch.setenv("RANK", "1")
    assert distance(state_of(SelfMade()), {name: torch.zeros(()) for name in last}) == 1


def test_a_loss_that_is_not_finite_ends_the_run_for_the_weights_have_moved(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", CFG, "SelfMade", {"diverge": True})
    assert fail(plan) == [1]
    assert "Step 1: the loss is not finite; lower train.lr" in said(plan)


@pytest.mark.parametrize(("option", "processes"), [({"micro_batch": 2}, 1), ({"shard": True}, 2)])
def test_options_that_need_gradients_are_refused(tmp_path: Path, option: dict[str, object], processes: int) -> None:
    plan = Plan(tmp_path / "run", CFG | option, "SelfMade")
    assert set(fail(plan, processes)) == {1}
    assert f"train.{next(iter(option))} cannot be used: SelfMade makes its own steps" in said(plan)
