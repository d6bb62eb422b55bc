"""Relative patches: answers that mean what they say, guards that remove what they claim, and shortcuts."""

import dataclasses

import pytest
import torch
from torch import Tensor

from modalities.vision.backbones import ModelConfig
from modalities.vision.relative_patch import RelativePatch, RelativePatchConfig, dropped, greyed
from modalities.vision.views.pipeline import ViewConfig
from tests.vision.shortcut import WHOLE, batch_of, learned, noise, outlined

OPEN = RelativePatchConfig(tile=8, gap=0, jitter=0, colour="none", hidden=32)
SEEDS = torch.arange(400) * 7919


def tiny(cfg: RelativePatchConfig, kind: type[RelativePatch] = RelativePatch) -> RelativePatch:
    torch.manual_seed(0)
    return kind(ModelConfig(width=8, image_size=32), WHOLE, cfg)


def maps(n: int, draw: torch.Generator) -> Tensor:
    """Red grows to the right, green downwards: the colour is the place."""
    line = torch.linspace(0.1, 0.9, 32)
    return torch.stack([line.expand(32, 32), line[:, None].expand(32, 32), torch.zeros(32, 32)]).repeat(n, 1, 1, 1)


class Oracle(RelativePatch):
    """Reads places from the colours of `maps`."""

    def guess(self, tiles: Tensor) -> Tensor:
        at = tiles.mean((-2, -1))[:, :, :2]  # (n, 9, 2): right, down
        away = at[:, [0, 1, 2, 3, 5, 6, 7, 8]] - at[:, [4]]
        away = away.sign() * (away.abs() > 0.2)  # (n, 8, 2); 0.2 is four pixels, more than any jitter
        nine = (away[..., 1] + 1) * 3 + away[..., 0] + 1  # cell of the grid, 4 being the centre
        eight = torch.where(nine > 4, nine - 1, nine).long()
        return torch.nn.functional.one_hot(eight, 8).float()


class Turned(Oracle):
    """The broken twin: takes right for down."""

    def guess(self, tiles: Tensor) -> Tensor:
        return super().guess(tiles[:, :, [1, 0, 2]])


@pytest.mark.parametrize(("gap", "jitter"), [(0, 0), (3, 1)])
def test_answers_are_the_places(gap: int, jitter: int) -> None:
    batch = batch_of(maps, 8, torch.Generator().manual_seed(0))
    cfg = dataclasses.replace(OPEN, gap=gap, jitter=jitter)
    assert tiny(cfg, Oracle)(batch)["accuracy"] == 1
    assert tiny(cfg, Turned)(batch)["accuracy"] == 0.25  # right only on the diagonal


def test_the_sheet_shows_where_the_neighbour_was_put() -> None:
    batch = batch_of(maps, 8, torch.Generator().manual_seed(0))
    panels = tiny(OPEN, Oracle).illustrate(batch)
    for row, line in enumerate(panels["where was it?"]):
        answer, guess = (part.split(": ")[1] for part in line.split("\n"))
        assert answer == guess
        sheet = panels["put where guessed"][row]
        red, green = (sheet[channel].masked_fill(sheet[2] == 0.5, -1).amax() for channel in (0, 1))
        centre = panels["centre"][row]
        assert ("right" in answer) == bool(red > centre[0].max())
        assert ("down" in answer) == bool(green > centre[1].max())


def test_grey_stays_and_green_against_magenta_goes() -> None:
    tiles = torch.rand(2, 9, 3, 8, 8, dtype=torch.float64)
    projected = greyed(tiles)
    assert (projected[:, :, 1] - projected[:, :, [0, 2]].mean(2)).abs().max() < 1e-12
    grey = tiles[:, :, :1].expand_as(tiles)
    assert (greyed(grey) - grey).abs().max() < 1e-12
    assert (tiles[:, :, 1] - tiles[:, :, [0, 2]].mean(2)).abs().max() > 0.1  # tiles that were not projected
    assert ((projected.mean(2) - tiles.mean(2)).abs().max()) < 1e-12  # brightness stays


def test_one_channel_is_kept_and_noise_is_faint() -> None:
    tiles = 0.2 + 0.1 * torch.rand(400, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = dropped(tiles, SEEDS)
    kept = (found == tiles).flatten(3).all(3)  # (n, 2, 3)
    assert (kept.sum(2) == 1).all()
    assert (kept.float().mean((0, 1)) - 1 / 3).abs().max() < 0.067  # 4 standard errors
    rest = found[~kept]  # (1600, 8, 8)
    spread = tiles[kept].flatten(1).std(1)  # (800,)
    assert (rest.mean() - 0.5).abs() < 1e-4
    assert (rest.flatten(1).std(1).view(800, 2) / spread[:, None]).mean() == pytest.approx(0.01, rel=0.02)
    assert torch.equal(dropped(tiles[5:6], SEEDS[5:6]), found[5:6])
    assert not torch.equal(dropped(tiles[5:6], SEEDS[6:7]), found[5:6])


def fringed(n: int, draw: torch.Generator) -> Tensor:
    """Noise of uneven brightness that a bad lens tints, every cell of 8 pixels otherwise, from green to magenta."""
    light = torch.rand(n, 1, 3, 3, generator=draw) - 0.5
    tint = torch.linspace(0.04, -0.04, 9).view(3, 3) * torch.tensor([-1.0, 2.0, -1.0])[:, None, None]
    cells = (0.9 * light + tint).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return 0.25 + 0.5 * noise(n, draw) + torch.nn.functional.pad(cells, (4, 4, 4, 4))


def test_what_crosses_the_border_helps_only_without_a_gap() -> None:
    assert learned(tiny(OPEN), outlined, steps=30) > 0.6
    assert learned(tiny(dataclasses.replace(OPEN, gap=4)), outlined, steps=30) < 0.2  # chance is 0.125


@pytest.mark.parametrize("guard", ["project", "drop"])
def test_the_fringe_of_a_lens_helps_only_in_colour(guard: str) -> None:
    assert learned(tiny(OPEN), fringed, steps=30) > 0.3
    assert learned(tiny(dataclasses.replace(OPEN, colour=guard)), fringed, steps=30) < 0.2


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"task.gap is -1; it must be at least 0."):
        RelativePatchConfig(gap=-1)
    with pytest.raises(ValueError, match=r"gaps of 8 and shifts of 3 need views of 94 pixels; .* is 64"):
        RelativePatch(ModelConfig(width=8), ViewConfig(side=64), RelativePatchConfig())
