"""Contrastive predictive coding of images: what is seen, what is predicted, and against which patches."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ConvNextModel

from modalities.task import Batch
from modalities.vision.cpc import CPC, V1, CPCConfig, SeenRows
from modalities.vision.views.pipeline import ViewConfig
from tests.reference.contrastive import info_nce
from tests.vision.examples_masked import CONVNEXT, SIDE, SMALL_CPC, cpc, pictures, small_v1

ROWS = 3  # of patches, in the small example


def small(**options: Any) -> CPC:
    torch.manual_seed(0)
    return cpc(dataclasses.replace(SMALL_CPC, **options)).double()


def plain(**options: Any) -> CPC:
    return small(drop_colour=0.0, flip=0.0, jitter=0.0, **options)


def test_a_row_of_context_sees_itself_and_the_rows_above_only() -> None:
    torch.manual_seed(0)
    net = SeenRows(4, 6, depth=2).double()
    grid = torch.randn(1, 5, 5, 4, dtype=torch.float64, requires_grad=True)
    for row in range(5):
        (seen,) = torch.autograd.grad(net(grid)[0, row, 2, 0], grid)
        reached = seen.abs().sum((0, 2, 3)) > 0
        assert reached.tolist() == [row - 2 <= other <= row for other in range(5)]
    # The broken twin: a norm over all places, as a group norm has it.
    normed = torch.nn.functional.layer_norm(grid, grid.shape[1:])
    (seen,) = torch.autograd.grad(net(normed)[0, 1, 2, 0], grid)
    assert (seen.abs().sum((0, 2, 3)) > 0).all()


def from_pixels(task: CPC, batch: Batch, turn: int, row: int) -> Tensor:
    """Which rows of pixels the predictions made after `row` of the turned grid depend on, (side,) bool."""
    view = task.view(batch).requires_grad_()
    task.view = lambda *_: view  # type: ignore[method-assign]
    _, seen = task.embed(batch)
    seen[:, turn, row].square().sum().backward()
    assert view.grad is not None
    return torch.rot90(view.grad, turn, (2, 3)).abs().sum((0, 1, 3)) > 0


@pytest.mark.parametrize("turn", range(4))
def test_predictions_never_see_pixels_of_later_patches(turn: int) -> None:
    for row in range(ROWS):
        reached = from_pixels(small(), pictures(1), turn, row)
        assert reached[: row * 8 + 16].any() and not reached[row * 8 + 16 :].any()


def test_the_places_that_predictions_mean() -> None:
    task = small()
    where = torch.zeros(2, 4, ROWS, ROWS, 8, dtype=torch.float64)
    found = task.queries(where, offset=5)
    assert list(found) == [1, 2] and found[2][0].shape == (2 * 4 * 1 * 3, 8)
    grid = torch.arange(9).view(3, 3)
    wanted = {0: grid[2], 1: grid[:, 0], 2: grid[0].flip(0), 3: grid[:, 2].flip(0)}  # below, left, above, right
    _, places = found[2]
    for turn, images in enumerate(places.view(4, 2, 3)):
        for image, row in enumerate(images):
            assert torch.equal(row, wanted[turn] + (5 + image) * 9)


@pytest.mark.parametrize("directions", [1, 4])
def test_the_loss_equals_loops_over_all_patches(directions: int) -> None:
    task, batch = plain(directions=directions), pictures(2)
    keys, seen = task.embed(batch)
    flat = keys.flatten(0, 2).tolist()
    losses = []
    for step in (1, 2):
        queries, right = [], []
        for turn in range(directions):
            turned = [torch.rot90(torch.arange(9).view(3, 3), turn, (0, 1)) + 9 * image for image in range(2)]
            for image in range(2):
                for row in range(3 - step):
                    for column in range(3):
                        at = seen[image, turn, row, column]
                        queries.append(task.predictors[turn][step - 1](at).tolist())
                        right.append(int(turned[image][row + step, column]))
        losses.append(info_nce(queries, flat, task.cfg.temperature, right))
    found = task.loss_from(keys, seen)
    assert abs(found["loss"].item() - sum(losses) / 2) < 1e-12
    assert abs(found["information"].item() - (math.log(18) - sum(losses) / 2)) < 1e-6
    turned_wrong = seen.roll(1, 2)  # the broken twin: contexts one row off
    assert abs(task.loss_from(keys, turned_wrong)["loss"].item() - sum(losses) / 2) > 1e-3


def test_perfect_predictions_are_all_right_and_equal_patches_give_the_logarithm() -> None:
    task = plain(directions=1, nearest=1, farthest=1, width=18)
    keys = torch.eye(18, dtype=torch.float64).view(2, 3, 3, 18)
    seen = torch.zeros(2, 1, 3, 3, 8, dtype=torch.float64)
    task.queries = lambda *_, **__: {1: (keys[:, 1:].flatten(0, 2), torch.arange(18).view(2, 3, 3)[:, 1:].flatten())}
    found = task.loss_from(keys, seen)
    assert found["accuracy"] == found["accuracy_1"] == 1 and found["information"] > 2
    same = task.loss_from(torch.ones_like(keys), seen)
    assert abs(same["loss"].item() - math.log(18)) < 1e-12 and abs(same["information"].item()) < 1e-6


def test_each_patch_is_changed_by_itself_and_by_its_seed() -> None:
    batch = pictures(4)
    view = small().view(batch)
    whole = plain().patches(view, batch["seeds"])
    assert torch.equal(whole[2, 1, 2], view[2, :, 8:24, 16:32])
    flipped = plain_with(flip=1.0).patches(view, batch["seeds"])
    assert torch.equal(flipped, whole.flip(-1))
    grey = plain_with(drop_colour=1.0).patches(view, batch["seeds"])
    channels = (grey[:, :, :, :1] - whole).abs().flatten(4).amax(4).argmin(3)  # which one was kept
    assert torch.equal(grey[:, :, :, 0], grey[:, :, :, 2]) and set(channels.unique().tolist()) == {0, 1, 2}
    changed = small(jitter=0.5).patches(view, batch["seeds"])
    assert changed.min() >= 0 and changed.max() <= 1 and not torch.equal(changed, whole)
    assert torch.equal(small(jitter=0.5).patches(view[2:3], batch["seeds"][2:3]), changed[2:3])
    assert not torch.equal(small(jitter=0.5).patches(view, batch["seeds"] + 1), changed)


def plain_with(**options: float) -> CPC:
    return small(**{"drop_colour": 0.0, "flip": 0.0, "jitter": 0.0, **options})


def test_the_first_version_has_one_direction_and_leaves_patches_alone() -> None:
    batch = pictures(2)
    task = cpc(small_v1()).double()
    view = task.view(batch)
    assert torch.equal(task.patches(view, batch["seeds"])[0, 0, 0], view[0, :, :16, :16])
    assert V1.directions == len(task.contexts) == 1 and CPCConfig().directions == 4


def test_by_default_nothing_predicted_shares_pixels_with_what_is_seen() -> None:
    for cfg in (CPCConfig(), V1):
        assert cfg.nearest * cfg.stride >= cfg.patch > (cfg.nearest - 1) * cfg.stride


def test_downstream_takes_the_stock_encoder_on_whole_images() -> None:
    task = small()
    assert task.export() is task.encoder and type(task.encoder) is ConvNextModel
    assert task.encode({"pixel_values": torch.zeros(2, 3, SIDE, SIDE, dtype=torch.float64)}).shape == (2, 32)


def test_pictures_show_the_rows_seen_and_the_patches_picked() -> None:
    panels = small().illustrate(pictures(4))
    assert list(panels) == ["view", "patches", "seen", "patches picked for the rest", "right"]
    view, seen, picked = panels["view"], panels["seen"], panels["patches picked for the rest"]
    assert isinstance(view, Tensor) and isinstance(seen, Tensor) and isinstance(picked, Tensor)
    assert (seen[:, :, :16] - view[:, :, :16]).abs().max() < 1e-12 and (seen[:, :, 16:] == 0.5).all()
    assert (picked[:, :, :16] - view[:, :, :16]).abs().max() < 1e-12
    assert not torch.equal(picked[:, :, 16:], view[:, :, 16:])
    assert len(panels["right"]) == 4 and all(str(text).endswith("%") for text in panels["right"])


@pytest.mark.parametrize(
    ("options", "side", "sentence"),
    [
        ({"farthest": 3}, SIDE, "views.side 32 has 3 rows of patches, so that no row lies 3 below another"),
        ({}, 30, "patches of 16 pixels, 8 apart, do not tile an image of 30 pixels"),
        ({"nearest": 0}, SIDE, "task.nearest is 0; it must be at least 1"),
        ({"nearest": 3}, SIDE, "task.farthest 2 lies before task.nearest 3"),
        ({"directions": 2}, SIDE, "task.directions is 2; choose 1"),
        ({"temperature": 0.0}, SIDE, "task.temperature is 0.0"),
        ({"flip": 1.5}, SIDE, "task.flip is 1.5; it must be between 0 and 1"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], side: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CPC(CONVNEXT, ViewConfig(side=side), dataclasses.replace(SMALL_CPC, **options))
