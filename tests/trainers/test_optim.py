"""Learning rates, parameter groups and LARS against slow references."""

import math

import pytest
import torch
from torch import nn

from tests.trainers.toys import Single
from trainers.config import TrainConfig
from trainers.optim import LARS, build_optimizer, parameter_groups, schedule
from trainers.schedule import learning_rate

Matrix = list[list[float]]


def closed_form(schedule: str, peak: float, final: float, warm: int, total: int) -> list[float]:
    """Every step's rate, written out: a ramp that ends on the peak, then the shape from the peak towards the end."""
    rates = [peak * n / warm for n in range(1, warm + 1)]
    length, low = total - warm, peak * final
    for n in range(length):
        if schedule == "constant":
            rates.append(peak)
        elif schedule == "linear":
            rates.append(peak - (peak - low) * n / length)
        else:
            rates.append(low + (peak - low) * math.cos(math.pi * n / (2 * length)) ** 2)
    return rates


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("warmup", "warm"), [(0.0, 0), (0.1, 10), (0.254, 25), (1.0, 100)])
def test_rates_are_the_closed_form(schedule: str, warmup: float, warm: int) -> None:
    cfg = TrainConfig(lr=0.3, schedule=schedule, warmup=warmup, final_lr=0.1)  # type: ignore[arg-type]
    rates = [learning_rate(cfg, step, 100) for step in range(100)]
    assert rates == pytest.approx(closed_form(schedule, 0.3, 0.1, warm, 100), rel=0, abs=1e-12)
    late = [learning_rate(cfg, min(step + 1, 99), 100) for step in range(100)]  # the broken twin: one step off
    if warm or schedule != "constant":
        assert late != pytest.approx(closed_form(schedule, 0.3, 0.1, warm, 100), rel=0, abs=1e-6)


def test_decay_spares_vectors_and_counts_shared_weights_once() -> None:
    task = Single()
    decayed, spared = parameter_groups(task, 0.1)
    names = {id(p): name for name, p in task.named_parameters()}
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0.0
    assert {names[id(p)] for p in decayed["params"]} == {"encoder.weight", "decoder.weight", "idle"}
    assert {names[id(p)] for p in spared["params"]} == {"encoder.bias", "decoder.bias", "norm.weight", "norm.bias"}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(task.parameters()))
    assert task.twin.weight is task.encoder.weight


def test_frozen_weights_are_left_out() -> None:
    task = nn.Linear(3, 2)
    task.weight.requires_grad_(False)
    (only,) = parameter_groups(task, 0.1)
    assert only["params"] == [task.bias]
    with pytest.raises(ValueError, match="Linear has no trainable parameter"):
        parameter_groups(task.requires_grad_(False), 0.1)


def test_adamw_is_fused_and_takes_the_options() -> None:
    optimizer = build_optimizer(Single(), TrainConfig(beta2=0.95, momentum=0.8, weight_decay=0.3))
    assert isinstance(optimizer, torch.optim.AdamW)
    for group in optimizer.param_groups:
        assert group["fused"] and group["betas"] == (0.8, 0.95)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


def test_parts_learn_at_their_own_rates() -> None:
    task = Single()
    assert {group["lr_scale"] for group in parameter_groups(task, 0.1)} == {1.0}
    task.lr_scales = {"decoder": 0.1, "idle": 3.0}  # a submodule and a parameter
    names = {id(p): name for name, p in task.named_parameters()}
    for name in ("adamw", "lars"):
        optimizer = build_optimizer(task, TrainConfig(lr=0.5, optimizer=name, weight_decay=0.2))  # type: ignore[arg-type]
        for rate in (0.5, 0.125):
            found = {
                names[id(p)]: (group["lr"] / rate, group["weight_decay"])
                for group in optimizer.param_groups
                for p in group["params"]
            }
            schedule(optimizer, 0.125, 0.5, 0.2)
            assert found.pop("decoder.weight") == (0.1, 0.2) and found.pop("decoder.bias") == (0.1, 0.0)
            assert found.pop("idle") == (3.0, 0.2) and found.pop("encoder.weight") == (1.0, 0.2)
            assert set(found.values()) == {(1.0, 0.0)} and len(found) == 3


@pytest.mark.parametrize(
    ("scales", "sentence"),
    [
        ({"decode": 0.1}, "lr_scales names 'decode', where nothing is trained"),
        ({"decoder": 0.1, "decoder.bias": 0.2}, "lr_scales gives decoder.bias 2 factors"),
    ],
)
def test_a_rate_for_nothing_or_given_twice_is_a_mistake(scales: dict[str, float], sentence: str) -> None:
    task = Single()
    task.lr_scales = scales
    with pytest.raises(AssertionError, match=sentence):
        parameter_groups(task, 0.1)


def lars_in_loops(weights: Matrix, slopes: list[Matrix], vector: bool, decay: float) -> Matrix:
    """LARS by hand, one number at a time: lr 0.1, momentum 0.9, trust 0.01."""
    speed = [[0.0] * len(row) for row in weights]
    for slope in slopes:
        step = [[g + decay * w for g, w in zip(gs, ws, strict=True)] for gs, ws in zip(slope, weights, strict=True)]
        size = math.sqrt(sum(w * w for row in weights for w in row))
        length = math.sqrt(sum(s * s for row in step for s in row))
        ratio = 1.0 if vector or size == 0 or length == 0 else 0.01 * size / length
        for i, row in enumerate(step):
            for j, s in enumerate(row):
                speed[i][j] = 0.9 * speed[i][j] + ratio * s
                weights[i][j] -= 0.1 * speed[i][j]
    return weights


@pytest.mark.parametrize("kind", ["matrix", "vector", "zero"])
def test_lars_is_the_loop(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    shape = (4,) if kind == "vector" else (3, 4)
    weight = nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64) * (kind != "zero"))
    slopes = [torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(5)]
    decay = 0.0 if kind == "vector" else 0.05
    rows = lambda tensor: tensor.detach().reshape(-1, 4).tolist()  # noqa: E731
    wanted = lars_in_loops(rows(weight), [rows(s) for s in slopes], kind == "vector", decay)
    undecayed = lars_in_loops(rows(weight), [rows(s) for s in slopes], kind == "vector", 0.1)  # the broken twin
    optimizer = LARS([{"params": [weight], "weight_decay": decay}], lr=0.1, momentum=0.9, trust=0.01)
    for slope in slopes:
        weight.grad = slope.clone()
        optimizer.step()
    found = torch.tensor(rows(weight), dtype=torch.float64)
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12)
    assert not torch.allclose(found, torch.tensor(undecayed, dtype=torch.float64), rtol=0, atol=1e-9)


def test_options_out_of_range_are_refused() -> None:
    for name, value in {"batch_size": 0, "keep": 0, "micro_batch": -1, "seed": -1, "warmup": 1.5, "lr": -1.0}.items():
        with pytest.raises(ValueError, match=rf"train\.{name} is {value}"):
            TrainConfig(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing would be trained"):
        TrainConfig(epochs=0.0)
