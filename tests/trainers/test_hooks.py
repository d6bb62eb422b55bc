"""What a task may ask of the loop: a steady rate, rest, a weight decay that moves, and an end when it has collapsed."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.runs import Plan, fail, run, said, steps_on_disk
from tests.trainers.test_optim import closed_form
from tests.trainers.toys import distance, metrics_of
from trainers.config import TrainConfig
from trainers.schedule import weight_decay

STEPS = 20
CFG = {"warmup": 0.25, "final_lr": 0.1, "weight_decay": 0.2, "final_weight_decay": 0.8, "clip_norm": 0.0}
RATES = closed_form("cosine", 0.05, 0.1, 5, STEPS)
DECAYS = [0.2 + 0.6 * math.sin(math.pi * step / (2 * STEPS)) ** 2 for step in range(STEPS)]


def by_hand(rates: list[float], decays: list[float], resting: range = range(0)) -> list[float]:
    """Where a weight of 1 with a constant gradient of 1 is after every update of AdamW, whose eps is 1e-6."""
    places = [1.0]
    for step, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        moved = places[-1] * (1 - rate * decay) - rate / (1 + 1e-6)
        places.append(places[-1] if step in resting else moved)
    return places


def near(places: Tensor, wanted: list[float]) -> bool:
    return bool(torch.allclose(places, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12))


def test_weight_decay_rises_along_half_a_cosine() -> None:
    cfg = TrainConfig(weight_decay=0.04, final_weight_decay=0.4)
    found = [weight_decay(cfg, step, 100) for step in range(100)]
    assert found == pytest.approx([0.04 + 0.36 * math.sin(math.pi * k / 200) ** 2 for k in range(100)], abs=1e-12)
    assert found[0] == 0.04 and found[50] == pytest.approx(0.22) and found[99] < 0.4
    assert [weight_decay(TrainConfig(weight_decay=0.3), step, 5) for step in range(5)] == [0.3] * 5
    assert weight_decay(TrainConfig(weight_decay=0.3, final_weight_decay=0.0), 1, 2) == pytest.approx(0.15)
    with pytest.raises(ValueError, match=r"train\.final_weight_decay is -0\.1; it must not be negative"):
        TrainConfig(final_weight_decay=-0.1)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_update_has_its_rate_its_decay_and_its_rest_and_a_killed_run_too(tmp_path: Path, processes: int) -> None:
    options = {"updates": STEPS}
    whole = run(Plan(tmp_path / "whole", CFG, "Hooked", options), processes)["weights"]
    paced, held, rested = whole["places"].T
    rest = range(4, 12)  # 0.2 to 0.6 of 20 updates
    assert near(paced, by_hand(RATES, DECAYS))
    assert near(held, by_hand([0.05] * STEPS, DECAYS)) and not near(held, by_hand(RATES, DECAYS))
    assert near(rested, by_hand(RATES, DECAYS, rest))
    assert not near(paced, by_hand(RATES, [0.2] * STEPS))  # a decay that stays where it began
    plan = Plan(tmp_path / "run", CFG, "Hooked", options, fault="kill", calls=(9,))  # while one rests
    assert -9 in fail(plan, processes) and steps_on_disk(plan)[0] == 6
    assert distance(whole, run(plan.but(fault=""), processes)["weights"]) == 0
    assert metrics_of(tmp_path / "whole") == metrics_of(plan.out)


def test_a_zero_gradient_is_no_rest(tmp_path: Path) -> None:
    """The broken twin: the weight decays on, and moves on by its momentum."""
    places = run(Plan(tmp_path / "run", CFG, "Zeroed", {"updates": STEPS}))["weights"]["places"]
    assert near(places[:5, 2], by_hand(RATES, DECAYS)[:5])
    assert bool((places[5:13, 2].diff().abs() > 1e-3).all())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_collapsed_run_ends_everywhere_and_its_last_checkpoint_goes_on(tmp_path: Path, processes: int) -> None:
    options = {"updates": STEPS}
    plan = Plan(tmp_path / "run", CFG | {"log_every": 2}, "Hooked", options | {"ill_from": 0.45})
    assert fail(plan, processes) == [1] * processes
    # Asked where something is logged, with means over processes; step 10 is the first of these from 0.45 on.
    sentence = f"Step 10 of 20: all is one on rank {(processes - 1) / 2}; lower train.lr. Checkpoints of earlier"
    assert all(f"Collapsed: {sentence}" in said(plan, rank) for rank in range(processes))
    assert steps_on_disk(plan)[0] == 9
    again = run(plan.but(task_options=options), processes)["weights"]
    assert "Resumed" in said(plan)
    assert distance(again, run(plan.but(out=tmp_path / "whole", task_options=options), processes)["weights"]) == 0
