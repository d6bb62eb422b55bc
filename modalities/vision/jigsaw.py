"""Jigsaw puzzles: Noroozi and Favaro 2016, arXiv 1603.09246."""

import math
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.draws import mix, uniform_on_device
from modalities.task import Batch
from modalities.vision.answers import judge
from modalities.vision.backbones import ModelConfig, build_encoder, normalise, pooled, width_of
from modalities.vision.task import Panels, VisionTask
from modalities.vision.tiles import cut_tiles, draw_shifts, lay_out, require_room, standardised
from modalities.vision.views.pipeline import ViewConfig

_SHIFTS, _CHANNELS, _ORDERS = 1, 2, 3  # streams of draws


@dataclass(frozen=True)
class JigsawConfig:
    """The puzzle and its guards. Grey pictures, another guard of the paper's, are an option of the views."""

    cells: int = 3
    """The picture is cut into cells x cells tiles."""
    permutations: int = 64
    """Orders of the tiles to tell apart, as far from each other as a greedy search finds them."""
    orders: int = 8
    """Orders in which a step shows every picture. Tiles are encoded one by one, so that more cost next to nothing."""
    tile: int = 24
    """Height and width of a tile in pixels."""
    gap: int = 8
    """Pixels between tiles, against lines that run on from one into the next."""
    jitter: int = 3
    """Every tile is shifted by up to so many pixels each way, for the same reason."""
    channel_shift: int = 1
    """Every colour channel of a tile is shifted by up to so many pixels more, against lenses whose colours part."""
    standardise: bool = False
    """Give every tile the same brightness, contrast and tint, as the paper does. A short training on few pictures does
    not get off the ground without these."""
    width: int = 64
    """Features of a tile that enter the comparison."""
    hidden: int = 256
    """Width of the layer that compares all tiles."""

    def __post_init__(self) -> None:
        least = {"permutations": 2, "orders": 1, "tile": 1, "gap": 0, "jitter": 0, "channel_shift": 0, "width": 1,
                 "hidden": 1}  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least {smallest}.")
        if self.cells not in (2, 3):
            raise ValueError(f"task.cells is {self.cells}; a jigsaw has 2 x 2 or 3 x 3 tiles.")
        if self.permutations > (most := math.factorial(self.cells**2)):
            raise ValueError(
                f"task.permutations is {self.permutations}, and {self.cells**2} tiles have only {most} orders."
            )


class Jigsaw(VisionTask):
    """Tell in which order the tiles of a picture are shown, out of a fixed set of orders.

    The paper's last layer has weights of its own for every order. Here it scores which tile stands in which place, and
    the score of an order is the sum over its places, so that all orders teach each of these scores, which gets a short
    training off the ground earlier.
    """

    orders: Tensor

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: JigsawConfig) -> None:
        super().__init__(views)
        require_room(views.side, cfg.cells, cfg.tile, cfg.gap, cfg.jitter + cfg.channel_shift)
        tiles = cfg.cells**2
        self.encoder = build_encoder(model)
        self.each = nn.Sequential(nn.Linear(width_of(self.encoder), cfg.width), nn.ReLU())
        self.together = nn.Sequential(
            nn.Linear(tiles * cfg.width, cfg.hidden), nn.ReLU(), nn.Linear(cfg.hidden, tiles**2)
        )
        self.register_buffer("orders", torch.from_numpy(far_permutations(tiles, cfg.permutations)).long())
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"}; chance is 1 / permutations."""
        answers = self.answers(batch)
        return judge(self.guess(self.guarded(self.tiles(batch)), answers), answers.flatten())

    def answers(self, batch: Batch) -> Tensor:
        """Numbers of the orders in which each picture is shown, (n, orders)."""
        return (uniform_on_device(batch["seeds"], self.cfg.orders, _ORDERS) * len(self.orders)).long()

    def tiles(self, batch: Batch) -> Tensor:
        """In their true places, (n, cells**2, 3, tile, tile) in [0, 1]."""
        cfg, seeds, count = self.cfg, batch["seeds"], self.cfg.cells**2
        shifts = draw_shifts(seeds, count, cfg.jitter, _SHIFTS)[:, :, None]  # (n, cells**2, 1, 2)
        apart = draw_shifts(seeds, 3 * count, cfg.channel_shift, _CHANNELS).unflatten(1, (count, 3))
        return cut_tiles(self.view(batch), cfg.cells, cfg.tile, cfg.gap, shifts + apart)

    def guarded(self, tiles: Tensor) -> Tensor:
        """Tiles as the encoder takes them, the same shape."""
        return standardised(tiles) if self.cfg.standardise else normalise(tiles)

    def guess(self, tiles: Tensor, answers: Tensor) -> Tensor:
        """Logits (n*orders, permutations) for tiles (n, t, 3, s, s) shown in the orders answers (n, orders)."""
        places = self.place(tiles, self.orders[answers])
        told = F.one_hot(self.orders, tiles.shape[1]).flatten(1).to(places)  # (permutations, t*t)
        return places @ told.T

    def place(self, tiles: Tensor, orders: Tensor) -> Tensor:
        """Is what is shown in place i tile j? (n*orders, t*t) for tiles (n, t, 3, s, s) and orders (n, orders, t)."""
        h = self.each(pooled(self.encoder, tiles.flatten(0, 1))).unflatten(0, tiles.shape[:2])  # (n, t, d)
        rows = torch.arange(len(h), device=h.device)[:, None, None]
        shown = h[rows, orders]  # (n, orders, t, d)
        places: Tensor = self.together(shown.flatten(2).flatten(0, 1))
        return places

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Tiles as they are shown, and put back as guessed."""
        tiles, answers = self.tiles(batch), self.answers(batch)[:, :1]
        given = self.guarded(tiles)
        order = self.orders[answers[:, 0]]  # (n, t): shown in place i is tile order[i]
        guess = self.orders[self.guess(given, answers).argmax(1)]
        rows = torch.arange(len(tiles), device=tiles.device)[:, None]
        put = torch.empty_like(tiles)
        put[rows, guess] = tiles[rows, order]
        right = (guess == order).sum(1).tolist()
        return {
            "view": self.view(batch),
            "tiles as given": lay_out((given / 2 + 0.5).clamp(0, 1)[rows, order]),
            "put back as guessed": lay_out(put),
            "in place": [f"{count} of {order.shape[1]} tiles" for count in right],
        }


@cache
def far_permutations(tiles: int, count: int, seed: int = 0) -> np.ndarray:
    """`count` different orders of `tiles` things that differ in as many places as possible: (count, tiles) uint8.

    Greedy: always the order whose nearest chosen one is farthest, in Hamming distance, and among those the one that is
    farthest from all chosen ones together. seed decides the first and all remaining ties.
    """
    every = np.array(list(permutations(range(tiles))), dtype=np.uint8)  # (tiles!, tiles)
    shuffle = np.argsort(mix(np.arange(len(every), dtype=np.uint64) + mix(np.array([seed], dtype=np.uint64))))
    every = np.ascontiguousarray(every[shuffle].T)  # (tiles, tiles!)
    nearest = np.full(every.shape[1], tiles + 1)
    total = np.zeros(every.shape[1], dtype=np.int64)
    chosen = [0]
    while len(chosen) < count:
        distance = (every != every[:, chosen[-1:]]).sum(0, dtype=np.uint8)  # (tiles!,)
        nearest, total = np.minimum(nearest, distance), total + distance
        # Distances of one order to all chosen ones sum to less than the factor, so the nearest decides first.
        chosen.append(int(np.argmax(nearest * (tiles * count + 1) + total)))
    return np.ascontiguousarray(every[:, chosen].T)
