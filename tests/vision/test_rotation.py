"""Rotation: exact turns, answers that mean what they say, and no trace of the turning itself."""

import pytest
import torch
from torch import Tensor

from modalities.vision.backbones import ModelConfig
from modalities.vision.rotation import Rotation, RotationConfig
from modalities.vision.views.pipeline import ViewConfig
from recipes.shortcuts import ResampledRotation
from tests.vision.shortcut import WHOLE, batch_of, learned, noise


def lit_from_above(n: int, draw: torch.Generator) -> Tensor:
    """Bright at the top, dark at the bottom, with noise that differs from picture to picture."""
    return (0.8 * noise(n, draw) + torch.linspace(0.3, -0.3, 32)[:, None]).clamp(0, 1)


class Oracle(Rotation):
    """Looks for the brightest side: top, left, bottom and right are 0, 90, 180 and 270 degrees to the left."""

    def guess(self, turned: Tensor) -> Tensor:
        sides = (turned[:, :, :8], turned[..., :8], turned[:, :, -8:], turned[..., -8:])
        return torch.stack([side.mean((1, 2, 3)) for side in sides][:: 4 // self.turns], dim=1)


class Sideways(Oracle):
    """The broken twin: one answer late."""

    def guess(self, turned: Tensor) -> Tensor:
        return super().guess(turned).roll(1, 1)


def tiny(kind: type[Rotation] = Rotation, views: ViewConfig = WHOLE, turns: int = 4) -> Rotation:
    torch.manual_seed(0)
    return kind(ModelConfig(width=8, image_size=32), views, RotationConfig(turns))


@pytest.mark.parametrize("turns", [2, 4])
def test_turns_move_pixels_and_mix_none(turns: int) -> None:
    views = noise(3, torch.Generator().manual_seed(0))
    turned = tiny(turns=turns).all_turns(views).unflatten(0, (turns, 3))
    for k in range(turns):
        back = turned[k]
        for _ in range(k * 4 // turns):  # a quarter to the right at a time: first column upwards becomes first row
            back = back.flip(2).transpose(2, 3)
        assert torch.equal(back, views)
    broken = tiny(ResampledRotation).all_turns(views).unflatten(0, (4, 3))
    assert not torch.equal(broken[1].flip(2).transpose(2, 3), views)


@pytest.mark.parametrize("turns", [2, 4])
def test_answers_are_the_turns(turns: int) -> None:
    batch = batch_of(lit_from_above, 8, torch.Generator().manual_seed(0))
    assert tiny(Oracle, turns=turns)(batch)["accuracy"] == 1
    assert tiny(Sideways, turns=turns)(batch)["accuracy"] == 0


def test_the_sheet_shows_pictures_turned_and_turned_back() -> None:
    batch = batch_of(lit_from_above, 8, torch.Generator().manual_seed(0))
    for kind, right in ((Oracle, True), (Sideways, False)):
        panels = tiny(kind).illustrate(batch)
        assert torch.equal(panels["turned back as guessed"] * 255, batch["images"].float()) is right
        for line in panels["which turn?"]:
            answer, guess = (part.split(": ")[1] for part in line.split("\n"))
            assert (answer == guess) is right
    assert len({line.split("\n")[0] for line in panels["which turn?"]}) > 1  # not all rows are turned alike


def test_noise_has_no_way_up_unless_turning_leaves_a_trace() -> None:
    assert learned(tiny(ResampledRotation), noise, steps=30) > 0.4  # upright against the rest is half of the task
    assert learned(tiny(), noise, steps=30) < 0.32  # chance is 0.25, its deviation over 256 turns 0.03


@pytest.mark.parametrize("turns", [0, 3, 8])
def test_other_turns_are_refused(turns: int) -> None:
    with pytest.raises(ValueError, match=f"task.turns is {turns}; only 2 and 4"):
        RotationConfig(turns)
