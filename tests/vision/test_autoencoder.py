"""Autoencoders: what passes through the neck, how sparse it is, and what noise does before it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from modalities.task import Batch
from modalities.vision import denoising_autoencoder as denoising
from modalities.vision.autoencoder import Autoencoder, AutoencoderConfig
from modalities.vision.denoising_autoencoder import DenoisingAutoencoder, DenoisingAutoencoderConfig, corrupt
from modalities.vision.sparse_autoencoder import SparseAutoencoder, SparseAutoencoderConfig, bernoulli_divergence
from modalities.vision.task import VisionTask
from tests.vision.examples_pixels import RESNET, ROWS, VIEWS, VIT, pictures
from trainers.config import TrainConfig
from trainers.optim import build_optimizer

SEEDS = torch.arange(ROWS) * 77_777 + 1
CODE = AutoencoderConfig(code=16)


def train(task: VisionTask, batch: Batch, updates: int) -> dict[str, float]:
    """What the last update logged."""
    optimizer = build_optimizer(task, TrainConfig(lr=3e-3, weight_decay=0.0))
    for _ in range(updates):
        optimizer.zero_grad()
        out = task(batch)
        out["loss"].backward()
        optimizer.step()
    return {name: value.item() for name, value in out.items()}


def make(kind: type[VisionTask], cfg: Any, seed: int = 0) -> VisionTask:
    torch.manual_seed(seed)
    return kind(RESNET, VIEWS, cfg).double()  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize("model", [RESNET, VIT])
def test_all_that_passes_is_the_code(model: Any) -> None:
    task, seen = Autoencoder(model, VIEWS, CODE), []
    task.neck.down.register_forward_hook(lambda module, given, out: seen.append(out))
    task.neck.up.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    out = task.reconstruct(task.pixels(pictures()))
    assert out.shape == (ROWS, 3, 32, 32) and seen[0].shape == (ROWS, 16) and seen[0] is seen[1]


def test_the_loss_is_the_mean_squared_error_to_the_picture() -> None:
    task, batch = make(Autoencoder, CODE), pictures()
    picture = task.pixels(batch)
    wanted = torch.stack([(task.reconstruct(picture)[i] - picture[i]).pow(2).mean() for i in range(ROWS)]).mean()
    assert abs(task(batch)["loss"] - wanted) < 1e-12
    assert abs(task(batch)["loss"] - (task.reconstruct(picture) - picture.roll(1, 0)).pow(2).mean()) > 1e-3


def test_the_divergence_is_that_of_two_coins() -> None:
    found = torch.tensor([0.001, 0.05, 0.3, 0.5, 0.999], dtype=torch.float64)
    for wanted in (0.01, 0.05, 0.5):
        coin = Bernoulli(torch.tensor(wanted, dtype=torch.float64))
        reference = kl_divergence(coin, Bernoulli(found))
        assert torch.allclose(bernoulli_divergence(wanted, found), reference, rtol=0, atol=1e-12)
        swapped = kl_divergence(Bernoulli(found), coin)
        assert not torch.allclose(bernoulli_divergence(wanted, found), swapped, rtol=0, atol=1e-3)
    assert bernoulli_divergence(0.05, found)[1].abs() < 1e-15


def test_a_unit_that_never_fires_costs_a_finite_loss() -> None:
    never = torch.tensor([-200.0, 200.0]).sigmoid().requires_grad_()
    divergence = bernoulli_divergence(0.05, never).sum()
    divergence.backward()
    assert divergence.isfinite() and never.grad is not None and never.grad.isfinite().all()


def test_the_penalty_is_what_makes_units_rare() -> None:
    rare = train(make(SparseAutoencoder, SparseAutoencoderConfig(code=64, penalty=1.0)), pictures(), 40)
    free = train(make(SparseAutoencoder, SparseAutoencoderConfig(code=64, penalty=0.0)), pictures(), 40)
    assert rare["activity"] < 0.15 and rare["active"] < 0.15
    assert free["activity"] > 0.3 and free["active"] > 0.3


def test_the_activity_is_a_mean_over_images_not_over_units() -> None:
    task = make(SparseAutoencoder, SparseAutoencoderConfig(code=4, activity=0.25, penalty=1.0))
    picture = task.pixels(pictures())
    shared = torch.zeros(ROWS, 4, dtype=torch.float64).add(1e-6)
    shared[:, 0] = 1 - 1e-6  # one unit for every image: a quarter of the units, and no sparse code
    spread = torch.full((ROWS, 4), 1e-6, dtype=torch.float64)
    spread[torch.arange(ROWS), torch.arange(ROWS) % 4] = 1 - 1e-6
    costs = {name: task.loss_from(code, picture) for name, code in (("shared", shared), ("spread", spread))}
    penalty = {name: (out["loss"] - out["l2"]).item() for name, out in costs.items()}
    assert penalty["spread"] < 1e-3 < 1 < penalty["shared"]
    assert costs["spread"]["active"] == costs["shared"]["active"] == 0.25


def grey(n: int = ROWS) -> Tensor:
    return torch.full((n, 3, 40, 40), 0.2, dtype=torch.float64)


@pytest.mark.parametrize("noise", ["masking", "salt_and_pepper"])
def test_spoilt_pixels_are_as_many_as_asked_for_and_the_others_intact(noise: Any) -> None:
    picture = torch.rand(ROWS, 3, 40, 40, dtype=torch.float64) * 0.9
    noisy, spoilt = corrupt(picture, SEEDS, DenoisingAutoencoderConfig(noise=noise, level=0.3))
    assert spoilt.shape == (ROWS, 1, 40, 40) and abs(float(spoilt.double().mean()) - 0.3) < 0.02
    assert torch.equal(noisy != picture, spoilt.expand_as(picture))
    values = noisy[spoilt.expand_as(noisy)]
    if noise == "masking":
        assert (values == 0).all()
    else:
        assert set(values.tolist()) == {-1.0, 1.0} and abs(float(values.mean())) < 0.06
        assert torch.equal(noisy[:, 0][spoilt[:, 0]], noisy[:, 2][spoilt[:, 0]])  # black or white, not coloured


def test_gaussian_noise_has_the_deviation_of_values_from_0_to_1() -> None:
    cfg = DenoisingAutoencoderConfig(noise="gaussian", level=0.1)
    noisy, spoilt = corrupt(grey(), SEEDS, cfg)
    added = (noisy - grey()) / 2
    assert spoilt.all() and abs(float(added.mean())) < 2e-3 and abs(float(added.std()) - 0.1) < 2e-3


def test_normal_draws_are_normal() -> None:
    draws = denoising.normal(torch.arange(200), 1001).double()
    assert draws.shape == (200, 1001) and draws.isfinite().all()
    # Standard errors of these moments at 200,200 draws: 0.0022, 0.0032, 0.0055, 0.022.
    moments = [float(draws.pow(k).mean()) for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.08) and moments[:2] == pytest.approx([0, 1], abs=0.012)
    inside = float((draws.abs() < 1).double().mean())
    assert abs(inside - math.erf(1 / math.sqrt(2))) < 0.005
    halves = draws[:, :500], draws[:, 501:]  # the two numbers that share a radius
    assert abs(float((halves[0] * halves[1]).mean())) < 0.012
    assert torch.equal(denoising.normal(torch.arange(200)[5:6], 1001).double(), draws[5:6])


@pytest.mark.parametrize("noise", ["gaussian", "masking", "salt_and_pepper"])
def test_the_goal_is_the_clean_picture(noise: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = DenoisingAutoencoderConfig(noise=noise, level=0.4)
    task, batch = make(DenoisingAutoencoder, cfg), pictures()
    picture = task.pixels(batch)
    noisy, _ = corrupt(picture, batch["seeds"], cfg)
    monkeypatch.setattr(task, "clean", lambda given: given)  # a net that copies what it is given
    assert abs(task(batch)["loss"] - (noisy - picture).pow(2).mean()) < 1e-12
    monkeypatch.setattr(task, "clean", lambda given: picture)
    assert task(batch)["loss"] == 0
    assert noisy.sub(picture).abs().max() > 0.1  # the broken twin, a loss against the noisy one, would not be 0


def test_emphasis_weighs_what_was_spoilt() -> None:
    batch = pictures()
    cfg = DenoisingAutoencoderConfig(level=0.25, emphasis=3.0)
    task = make(DenoisingAutoencoder, cfg)
    picture = task.pixels(batch)
    noisy, spoilt = corrupt(picture, batch["seeds"], cfg)
    error = (task.clean(noisy) - picture).pow(2).mean(1, keepdim=True)
    wanted = (3 * error[spoilt].sum() + error[~spoilt].sum()) / error.numel() / 1.5  # 0.25 * 3 + 0.75 * 1
    found = task(batch)
    assert abs(found["loss"] - wanted) < 1e-12 and abs(found["l2"] - error.mean()) < 1e-12
    assert abs(found["loss"] - found["l2"]) > 1e-6


@pytest.mark.parametrize(
    "task",
    [
        make(Autoencoder, CODE),
        make(SparseAutoencoder, SparseAutoencoderConfig(code=32)),
        make(DenoisingAutoencoder, DenoisingAutoencoderConfig()),
    ],
    ids=lambda task: type(task).__name__,
)
def test_pictures_of_it_are_pictures(task: VisionTask) -> None:
    panels = task.eval().illustrate(pictures())
    assert len(panels) >= 2
    for panel in panels.values():
        if isinstance(panel, list):
            assert len(panel) == ROWS and panel[0].endswith(" of 32")
        else:
            assert panel.shape == (ROWS, 3, 32, 32) and panel.min() >= 0 and panel.max() <= 1
    assert torch.allclose(panels["picture"], task.view(pictures()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("cfg", "options", "place"),
    [
        (AutoencoderConfig, {"code": 0}, "code is 0"),
        (SparseAutoencoderConfig, {"code": -1}, "code is -1"),
        (SparseAutoencoderConfig, {"activity": 1.0}, "activity is 1.0"),
        (SparseAutoencoderConfig, {"penalty": -0.5}, "penalty is -0.5"),
        (DenoisingAutoencoderConfig, {"level": 0.0}, "level is 0.0"),
        (DenoisingAutoencoderConfig, {"level": 1.5}, "level is 1.5"),
        (DenoisingAutoencoderConfig, {"emphasis": -1.0}, "emphasis is -1.0"),
    ],
)
def test_impossible_options_are_refused(cfg: Any, options: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=rf"task\.{place}"):
        cfg(**options)
    assert DenoisingAutoencoderConfig(noise="gaussian", level=1.5).level == 1.5
