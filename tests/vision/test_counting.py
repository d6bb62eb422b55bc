"""Counting: the loss against its formula, tiles that are parts of the whole, and what keeps counts from zero."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from modalities.vision.backbones import ModelConfig
from modalities.vision.counting import Counting, CountingConfig, contrast
from modalities.vision.tiles import cut_tiles
from modalities.vision.views.pipeline import ViewConfig
from tests.vision.shortcut import WHOLE, batch_of, noise

CFG = CountingConfig(counts=16, resample=False)
DRAW = torch.Generator().manual_seed(0)
WHOLES, SUMS, OTHERS = (torch.rand(5, 4, dtype=torch.float64, generator=DRAW) for _ in range(3))


def tiny(cfg: CountingConfig = CFG) -> Counting:
    torch.manual_seed(0)
    return Counting(ModelConfig(width=8, image_size=32), WHOLE, cfg)


def spelled_out(margin: float) -> float:
    total = 0.0
    for row in range(5):
        near = sum((float(SUMS[row, c]) - float(WHOLES[row, c])) ** 2 for c in range(4))
        far = sum((float(SUMS[row, c]) - float(OTHERS[row, c])) ** 2 for c in range(4))
        total += near + max(0.0, margin - far)
    return total / 5


@pytest.mark.parametrize("margin", [0.0, 0.5, 10.0])
def test_the_loss_is_the_papers(margin: float) -> None:
    assert abs(float(contrast(WHOLES, SUMS, OTHERS, margin)["loss"]) - spelled_out(margin)) < 1e-12
    assert abs(float(contrast(WHOLES, SUMS, WHOLES.roll(1, 0), margin)["loss"]) - spelled_out(margin)) > 1e-3 or (
        margin == 0  # without a margin there is no other picture
    )


def test_counting_nothing_costs_the_margin() -> None:
    nothing = torch.zeros(3, 4)
    found = contrast(nothing, nothing, nothing, 10.0)
    assert (found["loss"], found["accuracy"], found["counted"]) == (10, 0.5, 0)


def test_tiles_and_whole_are_one_picture() -> None:
    batch = batch_of(noise, 3, torch.Generator().manual_seed(0))
    views = batch["images"].float() / 255
    whole, tiles = tiny().pieces(batch)
    assert torch.equal(tiles, cut_tiles(views, 2, 16, 0))
    put = tiles.unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2, 5).reshape(3, 3, 32, 32)
    assert torch.equal(put, views)
    assert (whole - F.avg_pool2d(put, 2)).abs().max() < 1e-6
    assert (whole - F.avg_pool2d(put.roll(1, 0), 2)).abs().max() > 0.01


def test_pictures_are_shrunk_in_three_ways() -> None:
    batch = batch_of(noise, 64, torch.Generator().manual_seed(0))
    views = batch["images"].float() / 255
    half = {"size": 16, "antialias": True}
    ways = [F.avg_pool2d(views, 2), *(F.interpolate(views, mode=m, **half) for m in ("bilinear", "bicubic"))]
    whole, _ = tiny(dataclasses.replace(CFG, resample=True)).pieces(batch)
    apart = torch.stack([(whole - way).abs().amax((1, 2, 3)) for way in ways])  # (3, n)
    assert apart.amin(0).max() < 1e-6
    assert (torch.bincount(apart.argmin(0), minlength=3) > 10).all()


def test_the_margin_keeps_counts_from_vanishing() -> None:
    batch = batch_of(noise, 8, torch.Generator().manual_seed(0))
    found = {}
    for margin in (0.0, 10.0):
        task = tiny(dataclasses.replace(CFG, margin=margin))
        optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
        before = task(batch)
        for _ in range(60):
            optimizer.zero_grad()
            loss = task(batch)["loss"]
            loss.backward()
            optimizer.step()
        found[margin] = before, task(batch)
    before, after = found[0.0]
    assert after["loss"] < 0.05 * before["loss"]  # solved
    assert after["counted"] < 0.3 * before["counted"]  # by counting less and less
    before, after = found[10.0]
    assert after["counted"] > before["counted"] and after["accuracy"] > 0.9


def test_the_sheet_tells_own_from_other() -> None:
    batch = batch_of(noise, 4, torch.Generator().manual_seed(0))
    panels = tiny().illustrate(batch)
    whole, summed = (counts.detach() for counts in tiny().embed(batch))
    near, far = float((whole[0] - summed[0]).norm()), float((whole[1] - summed[0]).norm())
    assert panels["distance of the tiles' counts"][0] == f"to its own whole: {near:.1f}\nto the next one: {far:.1f}"


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"task.margin is -1; it must not be negative."):
        CountingConfig(margin=-1)
    with pytest.raises(ValueError, match=r"views.side is 33; counting cuts views into halves, so make it even."):
        Counting(ModelConfig(width=8), ViewConfig(side=33), CountingConfig())
