"""Jigsaw: orders far from each other, answers that mean what they say, and shortcuts."""

import dataclasses
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from modalities.vision.backbones import ModelConfig
from modalities.vision.jigsaw import Jigsaw, JigsawConfig, far_permutations
from modalities.vision.views.pipeline import ViewConfig
from tests.vision.shortcut import WHOLE, batch_of, learned, noise, outlined

OPEN = JigsawConfig(
    cells=3, permutations=4, tile=8, gap=0, jitter=0, channel_shift=0, standardise=False, width=16, hidden=32
)


def tiny(cfg: JigsawConfig, kind: type[Jigsaw] = Jigsaw) -> Jigsaw:
    torch.manual_seed(0)
    return kind(ModelConfig(width=8, image_size=32), WHOLE, cfg)


def nearest(orders: np.ndarray) -> int:
    return min(int((a != b).sum()) for a, b in combinations(orders, 2))


@pytest.mark.parametrize(("tiles", "count", "least"), [(9, 9, 9), (9, 64, 7), (9, 200, 6), (4, 4, 4), (4, 12, 2)])
def test_orders_are_different_and_far_apart(tiles: int, count: int, least: int) -> None:
    found = far_permutations(tiles, count)
    assert found.shape == (count, tiles) and (np.sort(found, axis=1) == np.arange(tiles)).all()
    assert len(np.unique(found, axis=0)) == count
    assert nearest(found) == least
    draw = np.random.default_rng(0)  # the broken twin: orders drawn at random
    assert nearest(np.stack([draw.permutation(tiles) for _ in range(count)])) < least


def test_every_order_is_the_farthest_that_was_left() -> None:
    found = [tuple(order) for order in far_permutations(4, 6).tolist()]

    def score(order: tuple[int, ...], chosen: list[tuple[int, ...]]) -> tuple[int, int]:
        apart = [sum(a != b for a, b in zip(order, other, strict=True)) for other in chosen]
        return min(apart), sum(apart)

    for k in range(1, 6):
        best = max(score(order, found[:k]) for order in permutations(range(4)))
        assert score(found[k], found[:k]) == best
    assert score((found[0][1], found[0][0], *found[0][2:]), found[:1]) < (4, 4)


def test_the_seed_alone_decides_the_orders() -> None:
    far_permutations.cache_clear()
    first = far_permutations(9, 16, seed=1)
    far_permutations.cache_clear()
    assert (far_permutations(9, 16, seed=1) == first).all()
    assert (far_permutations(9, 16, seed=2) != first).any()


def maps(n: int, draw: torch.Generator) -> Tensor:
    """Every tile of 8 pixels has the brightness of its number."""
    level = torch.arange(9).view(3, 3).repeat_interleave(8, 0).repeat_interleave(8, 1) / 9
    return torch.nn.functional.pad(level, (4, 4, 4, 4)).repeat(n, 3, 1, 1)


class Oracle(Jigsaw):
    """Sees shown tiles as the layer above `each` would, and reads their numbers from `maps`."""

    def guess(self, tiles: Tensor, answers: Tensor) -> Tensor:
        numbers = ((tiles.mean((2, 3, 4)) / 2 + 0.5) * 9).round().long()  # (n, t)
        shown = numbers[torch.arange(len(tiles))[:, None, None], self.orders[answers]]  # (n, orders, t)
        return (shown[:, :, None] == self.orders).sum(-1).flatten(0, 1).float()


class Inverted(Oracle):
    """The broken twin: takes the place of each tile for the tile of each place."""

    def guess(self, tiles: Tensor, answers: Tensor) -> Tensor:
        right, self.orders = self.orders, self.orders.argsort(1)
        logits = super().guess(tiles, answers)
        self.orders = right
        return logits.roll(1, 1)


def test_answers_are_the_orders() -> None:
    cfg = dataclasses.replace(OPEN, permutations=64)
    batch = batch_of(maps, 8, torch.Generator().manual_seed(0))
    task = tiny(cfg, Oracle)
    assert task(batch)["accuracy"] == 1
    assert len(task.answers(batch).unique()) > 20  # pictures and repetitions get orders of their own
    assert tiny(cfg, Inverted)(batch)["accuracy"] == 0


def test_the_sheet_shows_the_tiles_put_back() -> None:
    batch = batch_of(maps, 8, torch.Generator().manual_seed(0))
    for kind, right in ((Oracle, True), (Inverted, False)):
        panels = tiny(dataclasses.replace(OPEN, permutations=64), kind).illustrate(batch)
        assert (panels["in place"] == ["9 of 9 tiles"] * 8) is right
        whole = panels["put back as guessed"][0, 0]
        corners = [float(whole[y + 4, x + 4]) for y in (4, 16, 28) for x in (4, 16, 28)]
        assert (corners == sorted(corners)) is right
        assert corners != sorted(corners) or not torch.equal(whole, panels["tiles as given"][0, 0])


def test_one_encoding_serves_all_orders() -> None:
    """A picture shown in three orders is three puzzles of shuffled tiles."""
    task = tiny(OPEN).eval()  # fixed statistics: a tile's features depend on the tile alone
    tiles = torch.rand(2, 9, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    orders = task.orders[torch.tensor([[0, 1, 2], [3, 3, 0]])]  # (2, 3, 9)
    places = task.place(tiles, orders).unflatten(0, (2, 3))  # (2, 3, 81)
    for row in range(2):
        for k in range(3):
            alone = task.place(tiles[[row]][:, orders[row, k]], torch.arange(9)[None, None])
            assert (alone[0] - places[row, k]).abs().max() < 1e-5
    assert (places[0, 0] - places[0, 1]).abs().max() > 1e-4


def test_the_score_of_an_order_is_that_of_its_places() -> None:
    task = tiny(OPEN)
    places = torch.rand(2, 81, generator=torch.Generator().manual_seed(0))
    task.place = lambda tiles, orders: places  # type: ignore[method-assign]
    logits = task.guess(torch.zeros(2, 9, 3, 8, 8), torch.zeros(2, 1, dtype=torch.long))
    for row in range(2):
        for k, order in enumerate(task.orders.tolist()):
            wanted = sum(float(places[row, 9 * i + j]) for i, j in enumerate(order))
            inverse = sum(float(places[row, 9 * j + i]) for i, j in enumerate(order))
            assert abs(float(logits[row, k]) - wanted) < 1e-5 < abs(float(logits[row, k]) - inverse)


def vignetted(n: int, draw: torch.Generator) -> Tensor:
    """Noise under a light that falls off from the upper left corner, cell by cell."""
    return noise(n, draw) - 0.3 * maps(n, draw)


def test_what_crosses_the_border_helps_only_without_a_gap() -> None:
    assert learned(tiny(OPEN), outlined, steps=30) > 0.6
    assert learned(tiny(dataclasses.replace(OPEN, gap=4)), outlined, steps=30) < 0.33  # chance is 1/4


def test_brightness_helps_only_where_tiles_keep_theirs() -> None:
    assert learned(tiny(OPEN), vignetted, steps=30) > 0.6
    assert learned(tiny(dataclasses.replace(OPEN, standardise=True)), vignetted, steps=30) < 0.33


def test_channels_shift_apart_only_where_asked_to() -> None:
    batch = batch_of(noise, 4, torch.Generator().manual_seed(0))
    together, apart = tiny(OPEN).tiles(batch), tiny(dataclasses.replace(OPEN, channel_shift=1)).tiles(batch)
    assert torch.equal(together[:, :, 0], together[:, :, 1])  # the noise is grey
    assert not torch.equal(apart[:, :, 0], apart[:, :, 1])


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"task.cells is 4; a jigsaw has 2 x 2 or 3 x 3 tiles."):
        JigsawConfig(cells=4)
    with pytest.raises(ValueError, match=r"task.permutations is 25, and 4 tiles have only 24 orders."):
        JigsawConfig(cells=2, permutations=25)
    with pytest.raises(ValueError, match=r"task.orders is 0; it must be at least 1."):
        JigsawConfig(orders=0)
    with pytest.raises(ValueError, match=r"need views of 96 pixels; .* is 64"):
        Jigsaw(ModelConfig(width=8), ViewConfig(side=64), JigsawConfig())
