"""Relative patch prediction, or context prediction: Doersch et al. 2015, arXiv 1505.05192."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.answers import in_words, judge
from modalities.vision.backbones import ModelConfig, build_encoder, normalise, pooled, width_of
from modalities.vision.constants import constant
from modalities.vision.task import Panels, VisionTask
from modalities.vision.tiles import cut_tiles, draw_shifts, lay_out, require_room, standardised
from modalities.vision.views.pipeline import ViewConfig

_SHIFTS, _CHANNEL, _NOISE, _WHICH = 1, 2, 3, 4  # streams of draws
_CENTRE, _AROUND = 4, (0, 1, 2, 3, 5, 6, 7, 8)  # cells of the 3 x 3 grid
_AXIS = (-1.0, 2.0, -1.0)  # of RGB, from magenta to green
_PLACES = ("up-left", "up", "up-right", "left", "right", "down-left", "down", "down-right")


@dataclass(frozen=True)
class RelativePatchConfig:
    """The tiles and their guards."""

    tile: int = 24
    """Height and width of a tile in pixels."""
    gap: int = 8
    """Pixels between tiles, against lines that run on from one into the next."""
    jitter: int = 3
    """Every tile is shifted by up to so many pixels each way, for the same reason."""
    colour: Literal["project", "drop", "none"] = "project"
    """Against lenses whose colours part towards the edge: project pulls green and magenta towards grey; drop keeps one
    channel of each tile and puts faint noise in place of the others."""
    standardise: bool = False
    """Give every tile the same brightness, contrast and tint."""
    hidden: int = 256
    """Width of the layer that compares two tiles."""

    def __post_init__(self) -> None:
        for name, least in (("tile", 1), ("gap", 0), ("jitter", 0), ("hidden", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least {least}.")


class RelativePatch(VisionTask):
    """Tell where one tile lay around another. All eight neighbours of each centre are asked for at once."""

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: RelativePatchConfig) -> None:
        super().__init__(views)
        require_room(views.side, 3, cfg.tile, cfg.gap, cfg.jitter)
        self.encoder = build_encoder(model)
        self.head = nn.Sequential(
            nn.Linear(2 * width_of(self.encoder), cfg.hidden), nn.ReLU(), nn.Linear(cfg.hidden, len(_PLACES))
        )
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"}; chance is 1/8."""
        logits = self.guess(self.guarded(self.tiles(batch), batch["seeds"]))  # (n, 8, 8)
        answers = torch.arange(len(_PLACES), device=logits.device).repeat(len(logits))
        return judge(logits.flatten(0, 1), answers)

    def tiles(self, batch: Batch) -> Tensor:
        """(n, 9, 3, tile, tile) in [0, 1]."""
        shifts = draw_shifts(batch["seeds"], 9, self.cfg.jitter, _SHIFTS)
        return cut_tiles(self.view(batch), 3, self.cfg.tile, self.cfg.gap, shifts)

    def guarded(self, tiles: Tensor, seeds: Tensor) -> Tensor:
        """Tiles as the encoder takes them, without the colours that would give the answer away; the same shape."""
        if self.cfg.colour == "project":
            tiles = greyed(tiles)
        elif self.cfg.colour == "drop":
            tiles = dropped(tiles, seeds)
        return standardised(tiles) if self.cfg.standardise else normalise(tiles)

    def guess(self, tiles: Tensor) -> Tensor:
        """Tiles (n, 9, 3, s, s) as the encoder takes them -> logits of the place of every neighbour (n, 8, 8)."""
        h = pooled(self.encoder, tiles.flatten(0, 1)).unflatten(0, (-1, 9))  # (n, 9, d)
        # Slices, for a list of places would be copied to the device.
        before, centre, after = h.split((_CENTRE, 1, 8 - _CENTRE), dim=1)
        around = torch.cat([before, after], dim=1)  # (n, 8, d)
        logits: Tensor = self.head(torch.cat([centre.expand_as(around), around], dim=2))
        return logits

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """One neighbour of each centre: what the encoder is given, where it belongs and where it was put."""
        tiles, seeds = self.tiles(batch), batch["seeds"]
        given = self.guarded(tiles, seeds)
        n = torch.arange(len(seeds), device=seeds.device)
        answers = (uniform_on_device(seeds, 1, _WHICH)[:, 0] * len(_PLACES)).long()  # (n,)
        logits = self.guess(given)[n, answers]  # (n, 8)
        cell = torch.tensor(_AROUND, device=seeds.device)
        put = torch.full_like(tiles, 0.5)
        put[:, _CENTRE], put[n, cell[logits.argmax(1)]] = tiles[:, _CENTRE], tiles[n, cell[answers]]
        shown = (given / 2 + 0.5).clamp(0, 1)
        return {
            "view": self.view(batch),
            "centre": shown[:, _CENTRE],
            "neighbour": shown[n, cell[answers]],
            "where was it?": in_words(logits, answers, _PLACES),
            "put where guessed": lay_out(put),
        }


def greyed(tiles: Tensor) -> Tensor:
    """Colours (..., 3, h, w) without their part along the axis from green to magenta."""
    axis = constant(_AXIS, tiles) / 6**0.5  # of length 1
    along = torch.einsum("...chw,c->...hw", tiles, axis)
    return tiles - along.unsqueeze(-3) * axis[:, None, None]


def dropped(tiles: Tensor, seeds: Tensor) -> Tensor:
    """One channel of every tile (n, t, 3, h, w), the other two being mid-grey with noise of 1/100 of its deviation."""
    n, t, c, h, w = tiles.shape
    kept = (uniform_on_device(seeds, t, _CHANNEL) * c).long()  # (n, t)
    keep = torch.arange(c, device=tiles.device) == kept[..., None]  # (n, t, c)
    u = uniform_on_device(seeds, t * c * h * w, _NOISE).view(tiles.shape).clamp(min=2**-25).to(tiles)
    noise = torch.erfinv(2 * u - 1) * 2**0.5  # (n, t, c, h, w), normal
    left = tiles.gather(2, kept[:, :, None, None, None].expand(n, t, 1, h, w))
    spread = left.flatten(2).std(2)[..., None, None, None]  # (n, t, 1, 1, 1)
    return torch.where(keep[..., None, None], tiles, 0.5 + 0.01 * spread * noise)
