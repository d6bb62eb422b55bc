"""PIRL: pictures and their shuffled tiles against a memory that moves once per update."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from modalities.vision.joint.pirl import PIRL, PIRLConfig
from modalities.vision.tiles import cut_tiles, draw_shifts
from modalities.vision.views.pipeline import make_views
from tests.vision.joint.examples_views import SMALL_TILES
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures


def build(cfg: PIRLConfig = SMALL_TILES) -> PIRL:
    torch.manual_seed(0)
    return PIRL(VIT, TINY_VIEWS, cfg).double()


def test_the_loss_is_the_softmax_over_the_whole_memory() -> None:
    task, batch = build(), pictures()
    whole, puzzle, index = (part.detach() for part in task.embed(batch))
    by_hand = [F.cross_entropy(F.normalize(z, dim=1) @ task.bank.rows.T / 0.1, index) for z in (whole, puzzle)]
    out = task(batch)
    assert abs(out["loss"] - sum(by_hand) / 2) < 1e-12
    assert abs(out["whole_loss"] - by_hand[0]) < 1e-12 and abs(out["puzzle_loss"] - by_hand[1]) < 1e-12
    mostly = PIRL(VIT, TINY_VIEWS, replace(SMALL_TILES, puzzle_share=0.9)).double()
    mostly.load_state_dict(task.state_dict())
    assert abs(mostly(batch)["loss"] - 0.9 * by_hand[1] - 0.1 * by_hand[0]) < 1e-12


def test_the_memory_moves_after_an_update_and_only_then() -> None:
    task, batch = build(), pictures()
    before = task.bank.rows.clone()
    task(batch)
    assert torch.equal(task.bank.rows, before)  # the step may yet be skipped
    whole = task.embed(batch)[0].detach()
    task.after_step(0.5)
    shown = batch["index"]
    assert (task.bank.rows[shown] - F.normalize(whole, dim=1)).abs().max() < 1e-12  # the first time, whole
    others = torch.ones(10, dtype=torch.bool)
    others[shown] = False
    assert int(others.sum()) == 2 and torch.equal(task.bank.rows[others], before[others])
    after = task.bank.rows.clone()
    task.after_step(0.5)
    assert torch.equal(task.bank.rows, after)  # nothing is left to add
    task(batch)
    later = task.embed({**batch, "seeds": batch["seeds"] + 1})[0].detach()
    task.loss_from(later, later, shown)  # of two forward passes before an update the last one counts
    task.after_step(0.5)
    blended = F.normalize(0.5 * after[shown] + 0.5 * F.normalize(later, dim=1), dim=1)
    assert (task.bank.rows[shown] - blended).abs().max() < 1e-12


def test_what_is_only_looked_at_does_not_enter_the_memory() -> None:
    task = build().eval()
    before = task.bank.rows.clone()
    task(pictures())
    task.after_step(1.0)
    assert torch.equal(task.bank.rows, before)


def test_tiles_come_in_an_order_of_their_own() -> None:
    task, batch = build(), pictures()
    cfg, seeds = task.cfg, batch["seeds"]
    view = make_views(batch["images"], seeds, task.crops.second, 1).double()
    plain = cut_tiles(view, 3, cfg.tile, cfg.gap, draw_shifts(seeds, 9, cfg.jitter, 64))
    shown = task.shuffled(batch)
    orders = []
    for row in range(ROWS):
        apart = (shown[row, :, None] - plain[row]).abs().flatten(2).sum(2)  # (9, 9)
        order = apart.argmin(1).tolist()
        assert apart.min(1).values.max() == 0 and sorted(order) == list(range(9))
        orders.append(order)
    assert len({tuple(order) for order in orders}) > 5
    assert torch.equal(task.shuffled(batch), shown)


def test_the_order_matters_to_the_puzzle() -> None:
    task, batch = build(), pictures()
    puzzle = task.embed(batch)[1]
    parts = task.each(task.features(task.shuffled(batch).flatten(0, 1) * 2 - 1)).unflatten(0, (ROWS, 9))
    assert (task.together(parts.flatten(1)) - puzzle).abs().max() < 1e-12
    assert (task.together(parts.roll(1, 1).flatten(1)) - puzzle).abs().max() > 1e-3


def test_it_shows_and_says_what_it_does() -> None:
    task = build()
    assert task.negatives(128) == 9
    panels = task.illustrate(pictures())
    assert list(panels) == ["picture", "view", "tiles in drawn order"]


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"task.rows is 0; PIRL remembers"):
        PIRL(VIT, TINY_VIEWS, replace(SMALL_TILES, rows=0))
    with pytest.raises(ValueError, match=r"need views of 60 pixels; raise views.side, which is 16"):
        PIRL(VIT, TINY_VIEWS, PIRLConfig(rows=10))
    wrong: list[dict[str, float]] = [
        {"temperature": 0},
        {"momentum": 1},
        {"puzzle_share": 1},
        {"tile": 0},
        {"rows": -1},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match=rf"task.{next(iter(options))}"):
            PIRLConfig(**options)  # type: ignore[arg-type]
