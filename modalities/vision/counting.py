"""Learning to count: Noroozi et al. 2017, arXiv 1708.06734."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, build_encoder, normalise, pooled, width_of
from modalities.vision.task import Panels, VisionTask
from modalities.vision.tiles import cut_tiles, lay_out
from modalities.vision.views.pipeline import ViewConfig
from objectives.gather import gather, rank
from objectives.precision import full_precision

_RESAMPLING = 1  # stream of draws


@dataclass(frozen=True)
class CountingConfig:
    """What is counted and what keeps it from being nothing."""

    counts: int = 256
    """How many things are counted, none of them named."""
    margin: float = 10.0
    """The tiles of one picture and the whole of another must differ by so much, in squared distance; with 0, counting
    nothing at all is a perfect solution."""
    resample: bool = True
    """Shrink every picture in one of three ways, drawn at random, so that the way does not tell whole from tile."""

    def __post_init__(self) -> None:
        if self.counts < 1:
            raise ValueError(f"task.counts is {self.counts}; it must be at least 1.")
        if self.margin < 0:
            raise ValueError(f"task.margin is {self.margin}; it must not be negative.")


class Counting(VisionTask):
    """What is in a picture is what is in its four tiles together, and not what is in the tiles of another picture.

    The other picture is the next row of the global batch.
    """

    coupled = True

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: CountingConfig) -> None:
        super().__init__(views)
        if views.side % 2:
            raise ValueError(f"views.side is {views.side}; counting cuts views into halves, so make it even.")
        self.encoder = build_encoder(model)
        width = width_of(self.encoder)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, cfg.counts), nn.ReLU())
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "counted"}. accuracy: how often the own picture is nearer to the tiles than the other
        one (chance is 1/2). counted: mean sum of all counts of a whole picture; 0 is collapse."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Counts of whole pictures and summed counts of their tiles, (n, counts) each."""
        whole, tiles = self.pieces(batch)
        counts = self.count(torch.cat([whole[:, None], tiles], dim=1).flatten(0, 1)).unflatten(0, (-1, 5))
        return counts[:, 0], counts[:, 1:].sum(1)

    def loss_from(self, whole: Tensor, tiles: Tensor) -> dict[str, Tensor]:
        """Local rows of tiles (n, counts) against local and other wholes of the global batch."""
        first = rank() * len(whole)
        other = gather(whole).roll(-1, 0)[first : first + len(whole)]
        return contrast(whole, tiles, other, self.cfg.margin)

    def pieces(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The whole picture shrunk to half its side, (n, 3, s, s), and its four tiles, (n, 4, 3, s, s); in [0, 1]."""
        views = self.view(batch)
        half = self.views.side // 2
        return self.shrunk(views, batch["seeds"]), cut_tiles(views, 2, half, 0)

    def shrunk(self, views: Tensor, seeds: Tensor) -> Tensor:
        """Views (n, 3, 2s, 2s) at half their side, (n, 3, s, s)."""
        area = F.avg_pool2d(views, 2)
        if not self.cfg.resample:
            return area
        half = {"size": views.shape[-1] // 2, "antialias": True}
        linear, cubic = (F.interpolate(views, mode=mode, **half) for mode in ("bilinear", "bicubic"))
        which = (uniform_on_device(seeds, 1, _RESAMPLING)[:, 0] * 3).long()  # (n,)
        row = torch.arange(len(views), device=views.device)
        return torch.stack([area, linear, cubic.clamp(0, 1)])[which, row]

    def count(self, images: Tensor) -> Tensor:
        """Pictures (n, 3, s, s) in [0, 1] -> counts (n, counts), none below zero."""
        counts: Tensor = self.head(pooled(self.encoder, normalise(images)))
        return counts

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The whole, its tiles, and how far their counts are apart beside those of the next picture."""
        whole, tiles = self.pieces(batch)
        counts, summed = self.embed(batch)
        own = (counts - summed).norm(dim=1).tolist()
        other = (counts.roll(-1, 0) - summed).norm(dim=1).tolist()
        lines = [f"to its own whole: {near:.1f}\nto the next one: {far:.1f}"
                 for near, far in zip(own, other, strict=True)]  # fmt: skip
        return {"whole, shrunk": whole, "its tiles": lay_out(tiles), "distance of the tiles' counts": lines}


@full_precision
def contrast(whole: Tensor, tiles: Tensor, other: Tensor, margin: float) -> dict[str, Tensor]:
    """Counts (n, c) of wholes, summed tiles and other wholes -> {"loss", "accuracy", "counted"}."""
    own, foreign = (tiles - whole).square().sum(1), (tiles - other).square().sum(1)  # (n,) each
    return {
        "loss": (own + F.relu(margin - foreign)).mean(),
        "accuracy": ((own < foreign) + 0.5 * (own == foreign)).mean(),
        "counted": whole.detach().sum(1).mean(),
    }
