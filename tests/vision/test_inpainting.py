"""Inpainting: what the encoder sees, what the loss weighs, and that each of the two players gets its own gradient."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.vision import masks
from modalities.vision.backbones import ModelConfig
from modalities.vision.discriminator import Discriminator, adversarial_losses
from modalities.vision.inpainting import ChannelwiseLinear, Inpainting, InpaintingConfig, with_mean_colour
from modalities.vision.views.pipeline import ViewConfig
from tests.vision.examples_pixels import RESNET, ROWS, VIEWS, pictures
from trainers.config import TrainConfig
from trainers.optim import build_optimizer

Gradients = dict[str, Tensor]


def make(**options: Any) -> Inpainting:
    torch.manual_seed(0)
    return Inpainting(RESNET, VIEWS, InpaintingConfig(discriminator_width=4, **options)).double()


@pytest.mark.parametrize("region", ["centre", "blocks", "random"])
def test_what_is_hidden_never_reaches_the_encoder(region: Any) -> None:
    task = make(region=region)
    picture, hidden = task.picture_and_mask(pictures())
    guess = task.fill(picture, hidden)
    other = torch.where(hidden, torch.rand_like(picture), picture)
    assert (other != picture).any() and torch.equal(task.fill(other, hidden), guess)
    less = hidden & ~masks.widened(~hidden, 1)  # the broken twin: a hole one pixel too small
    assert not torch.equal(task.fill(other, less), task.fill(picture, less))


def test_the_hole_has_the_mean_colour_of_the_rest() -> None:
    task = make(region="blocks")
    picture, hidden = task.picture_and_mask(pictures())
    filled = with_mean_colour(picture, hidden)
    for row in range(ROWS):
        hole = hidden[row, 0]
        for channel in range(3):
            mean = picture[row, channel][~hole].mean()
            assert (filled[row, channel][hole] - mean).abs().max() < 1e-12
            assert torch.equal(filled[row, channel][~hole], picture[row, channel][~hole])
    everything = with_mean_colour(picture, torch.ones_like(hidden))
    assert everything.isfinite().all()


@pytest.mark.parametrize("overlap", [0, 2])
def test_the_loss_is_the_weighted_mean_of_each_row(overlap: int) -> None:
    task = make(region="blocks", overlap=overlap)
    picture, hidden = task.picture_and_mask(pictures())
    guess = torch.randn_like(picture)
    rows = []
    for row in range(ROWS):
        total, weights = 0.0, 0.0
        for y in range(32):
            for x in range(32):
                near = hidden[row, 0, max(0, y - overlap) : y + overlap + 1, max(0, x - overlap) : x + overlap + 1]
                weight = 1.0 if hidden[row, 0, y, x] else 10.0 if near.any() else 0.0
                total += weight * float((guess[row, :, y, x] - picture[row, :, y, x]).pow(2).mean())
                weights += weight
        rows.append(total / weights)
    found = task.squared_error(guess, picture, hidden)
    assert abs(found - sum(rows) / ROWS) < 1e-12
    everywhere = (guess - picture).pow(2).mean()  # the broken twin: visible pixels count too
    assert abs(found - everywhere) > 1e-4
    seen = torch.where(masks.widened(hidden, overlap), guess, torch.zeros_like(guess))
    assert abs(task.squared_error(seen, picture, hidden) - found) < 1e-12


def gradients(task: Inpainting, loss: Tensor, part: str) -> Gradients:
    own = {n: p for n, p in task.named_parameters() if n.startswith("discriminator.") == (part == "discriminator")}
    return dict(zip(own, torch.autograd.grad(loss, list(own.values()), retain_graph=True), strict=True))


def apart(left: Gradients, right: Gradients) -> float:
    assert left.keys() == right.keys() and left
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_each_player_gets_the_gradient_of_its_own_loss_alone() -> None:
    task, batch = make(adversarial=0.3), pictures()
    joint = task(batch)["loss"]
    picture, hidden = task.picture_and_mask(batch)
    guess = task.fill(picture, hidden)
    pasted = torch.where(hidden, guess, picture)
    weight = F.avg_pool2d(hidden.double(), 8)[:, 0]
    weight = weight / weight.sum((1, 2), keepdim=True) / ROWS
    real, made = task.discriminator(picture), task.discriminator(pasted)
    makers = 0.7 * task.squared_error(guess, picture, hidden) + 0.3 * (weight * F.softplus(-made)).sum()
    judges = (weight * (F.softplus(-real) + F.softplus(made))).sum() / 2
    assert apart(gradients(task, joint, "maker"), gradients(task, makers, "maker")) < 1e-12
    assert apart(gradients(task, joint, "discriminator"), gradients(task, judges, "discriminator")) < 1e-12
    both = makers + judges  # the broken twin: nothing is detached, and each also works for the other
    assert apart(gradients(task, both, "maker"), gradients(task, makers, "maker")) > 1e-4
    assert apart(gradients(task, both, "discriminator"), gradients(task, judges, "discriminator")) > 1e-4


def test_the_losses_are_the_textbooks() -> None:
    torch.manual_seed(0)
    judge = Discriminator(3, 4).double()
    real, made = torch.rand(2, ROWS, 3, 16, 16, dtype=torch.float64)
    p, q = judge(real).sigmoid(), judge(made).sigmoid()
    found = adversarial_losses(judge, real, made, torch.ones(ROWS, 1, 16, 16, dtype=torch.bool))
    assert abs(found["discriminator"] + (p.log().mean() + (1 - q).log().mean()) / 2) < 1e-12
    assert abs(found["maker"] + q.log().mean()) < 1e-12
    assert abs(found["accuracy"] - ((p > 0.5).double().mean() + (q < 0.5).double().mean()) / 2) < 1e-12
    assert abs(found["maker"] + (1 - q).log().mean()) > 1e-6  # of the form that saturates


def test_only_places_with_something_made_are_judged() -> None:
    torch.manual_seed(0)
    judge, (real, made) = Discriminator(3, 4).double(), torch.rand(2, ROWS, 3, 16, 16, dtype=torch.float64)
    where = torch.zeros(ROWS, 1, 16, 16, dtype=torch.bool)
    where[:, :, :8, 8:12] = True  # under the upper right of the four logits
    where[0, :, 8:, :] = True  # and, in the first row, under all of the lower two
    q = judge(made).sigmoid()
    rows = [-q[0][0, 1].log() * 0.2 - q[0][1].log().sum() * 0.4, *(-q[1:, 0, 1].log())]
    assert abs(adversarial_losses(judge, real, made, where)["maker"] - sum(rows) / ROWS) < 1e-12
    everywhere = torch.ones_like(where)  # the broken twin
    assert abs(adversarial_losses(judge, real, made, everywhere)["maker"] - sum(rows) / ROWS) > 1e-6


def test_a_logit_does_not_depend_on_the_other_pictures() -> None:
    torch.manual_seed(0)
    judge = Discriminator(3, 4).double()
    for side in (16, 36, 64):
        given = torch.rand(3, 3, side, side, dtype=torch.float64)
        assert judge(given).shape == (3, side // 8, side // 8)
        assert (judge(given) - torch.cat([judge(row[None]) for row in given])).abs().max() < 1e-12


def test_both_networks_are_in_one_optimizer_at_their_own_rates() -> None:
    task = make(adversarial=0.001, discriminator_lr=0.25)
    optimizer = build_optimizer(task, TrainConfig(lr=0.1))
    names = {id(p): name for name, p in task.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            judge = names.pop(id(parameter)).startswith("discriminator.")
            assert group["lr"] == pytest.approx(0.025 if judge else 0.1)
    assert names == {}
    plain = make()
    assert not hasattr(plain, "discriminator") and set(plain(pictures())) == {"loss", "l2"}
    assert {group["lr"] for group in build_optimizer(plain, TrainConfig(lr=0.1)).param_groups} == {0.1}


def test_the_discriminator_learns_to_tell_an_untrained_maker() -> None:
    task, batch = make(adversarial=0.001), pictures()
    optimizer = torch.optim.Adam(task.discriminator.parameters(), lr=1e-2)
    log = []
    for _ in range(25):
        optimizer.zero_grad()
        out = task(batch)
        out["loss"].backward()
        optimizer.step()
        log.append({name: value.item() for name, value in out.items()})
    first, last = log[0], log[-1]
    assert last["discriminator"] < 0.5 * first["discriminator"] and last["discriminator_accuracy"] > 0.9
    assert last["adversarial"] > first["adversarial"] and last["l2"] == first["l2"]


def test_places_see_each_other_channel_by_channel() -> None:
    torch.manual_seed(0)
    layer, given = ChannelwiseLinear(2, 2, 3).double(), torch.randn(4, 2, 2, 3, dtype=torch.float64)
    out = layer(given)
    for channel in range(2):
        wanted = given[:, channel].flatten(1) @ layer.weight[channel].T
        assert (out[:, channel].flatten(1) - wanted).abs().max() < 1e-12
        assert (out[:, channel].flatten(1) - given[:, channel].flatten(1)).abs().max() > 1e-3


def test_pictures_of_it_show_the_truth_outside_the_hole() -> None:
    task, batch = make(region="random", adversarial=0.001).eval(), pictures()
    panels = task.illustrate(batch)
    assert list(panels) == ["picture", "what is left", "filled in", "whole guess"]
    _, hidden = task.picture_and_mask(batch)
    for panel in panels.values():
        assert panel.shape == (ROWS, 3, 32, 32) and panel.min() >= 0 and panel.max() <= 1
    visible = (~hidden).expand_as(panels["picture"])
    for title in ("what is left", "filled in"):
        assert torch.equal(panels[title][visible], panels["picture"][visible])
    assert torch.equal(panels["filled in"][~visible], panels["whole guess"][~visible])
    assert not torch.equal(panels["whole guess"][visible], panels["picture"][visible])


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"share": 0.0}, "share is 0.0"),
        ({"share": 1.0}, "share is 1.0"),
        ({"overlap": -1}, "overlap is -1"),
        ({"overlap_weight": -1.0}, "overlap_weight is -1.0"),
        ({"adversarial": 1.0}, "adversarial is 1.0"),
        ({"discriminator_lr": 0.0}, "discriminator_lr is 0.0"),
        ({"discriminator_width": 0}, "discriminator_width is 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=rf"task\.{place}"):
        InpaintingConfig(**options)


def test_views_that_do_not_suit_the_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match=r"views\.side is 48 and the encoder leaves 2 x 2 places"):
        Inpainting(ModelConfig(width=8), ViewConfig(side=48), InpaintingConfig())
