"""Dense contrast between pixels in the form of Dense Object Nets: Florence et al. 2018, arXiv 1806.08756."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig
from modalities.vision.hypercolumn import Hypercolumn
from modalities.vision.joint.dense_pictures import as_colours, marked
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from modalities.vision.task import Panels
from modalities.vision.views.geometry import Geometry, grid_points
from modalities.vision.views.pipeline import make_views
from objectives.contrastive import own_columns
from objectives.gather import all_reduce, gather, rank, world_size
from objectives.pixel_contrast import Terms, matches, non_matches, pixel_nce

_ANCHORS, _OTHERS = 64, 65  # streams of draws
_SHOWN = 8  # matches in a picture


@dataclass(frozen=True)
class DenseConfig:
    """Descriptors of places, and how matching ones are told from others."""

    form: Literal["margin", "info-nce"] = "margin"
    """margin: matches are drawn together, others pushed `margin` apart, as in the paper. info-nce: the match is found
    among the others (PixelNCE), at `temperature`."""
    cell: int = 4
    """Every square of so many pixels gets a descriptor."""
    width: int = 32
    """Numbers of a descriptor, a unit vector. The paper's has 3 and any length, for one kind of object."""
    hidden: int = 32
    """Channels in which the stages of the encoder come together."""
    matches: int = 32
    """Places of each first view that are compared, drawn among those that the second one shows too."""
    others: int = 128
    """Places of other pictures that each picture is compared with."""
    near: float = 4.0
    """Within so many pixels of a view, two places count as the same point."""
    margin: float = 0.5
    """Descriptors of other points are pushed this far apart, out of at most 2."""
    temperature: float = 0.1
    """Divides the cosines, for info-nce."""

    def __post_init__(self) -> None:
        if self.form not in ("margin", "info-nce"):
            raise ValueError(f"task.form is {self.form!r}; choose margin or info-nce.")
        for name in ("cell", "width", "hidden", "matches", "others"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("near", "margin", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be above 0.")


class Dense(JointTask):
    """Give every place of a picture a descriptor that is the same in another view of it, and of no other place.

    Crops and mirrors of the two views are known, and so is which of their pixels show the same point. Non-matches are
    all other places of the second view, and drawn places of second views of other pictures, of all processes.
    """

    coupled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: DenseConfig) -> None:
        super().__init__(model, views)
        side, policy = views.first.side, max(views.first.policy_ops, views.second.policy_ops)
        if side % cfg.cell:
            raise ValueError(f"views.first.side {side} is not a multiple of task.cell {cfg.cell}.")
        if policy:
            raise ValueError(f"views.policy_ops is {policy}, but a policy moves pixels unseen; set it to 0.")
        self.grid = side // cfg.cell
        if cfg.matches > self.grid**2:
            raise ValueError(f"task.matches is {cfg.matches}, but a view has {self.grid**2} places; lower it.")
        self.describe = Hypercolumn(self.encoder, cfg.hidden, cfg.width)
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "matched", and signs of health}. accuracy: for how many places of the first view the
        nearest descriptor of the second one is `near` the same point; matched: the share of drawn places that the
        second view shows."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Descriptors of k drawn places of the first view (n, k, d), and of all places of the second (n, p, d); where
        the second one shows those k, (n, k, 2) as shares of its size, and whether it does, (n, k); and the seeds."""
        first, second = self.describe(self.encoder, self.large(batch), (self.grid,) * 2).flatten(1, 2).chunk(2)
        places, there, matched = self.drawn(batch)
        return self._at(first, places), second, there, matched, batch["seeds"]

    def drawn(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """k places of the first view (n, k), where the second one shows them (n, k, 2), and whether it does (n, k)."""
        one, other = self.geometries(batch)
        points = grid_points(self.grid, batch["seeds"].device)[None]  # (1, p, 2)
        there = other.to_view(one.to_picture(points))  # (n, p, 2)
        inside = ((there >= 0) & (there < 1)).all(-1)  # (n, p)
        order = uniform_on_device(batch["seeds"], self.grid**2, _ANCHORS) + ~inside  # those outside come last
        places = order.topk(self.cfg.matches, largest=False).indices  # (n, k)
        return places, self._at(there, places), inside.gather(1, places)

    def loss_from(
        self, anchors: Tensor, second: Tensor, there: Tensor, matched: Tensor, seeds: Tensor
    ) -> dict[str, Tensor]:
        """Means over the matches, and over the violated non-matches, of all processes."""
        anchors, second = F.normalize(anchors, dim=-1), F.normalize(second, dim=-1)
        positives = self._at(second, self._nearest(there))  # (n, k, d)
        strangers = self._strangers(second, seeds)  # (n, q, d)
        gap = (grid_points(self.grid, there.device) - there[:, :, None]) * self.crops.first.side  # (n, k, p, 2) pixels
        apart = (gap.norm(dim=-1) > self.cfg.near) & matched[:, :, None]  # (n, k, p)
        far = matched[:, :, None].expand(-1, -1, strangers.shape[1])  # (n, k, q)
        if self.cfg.form == "margin":
            within, across = (
                non_matches(anchors, others, count, self.cfg.margin)
                for others, count in ((second, apart), (strangers, far))
            )
            parts = {"match": matches(anchors, positives, matched), "within": within, "across": across}
        else:
            others, chosen = torch.cat([second, strangers], 1), torch.cat([apart, far], 2)
            parts = {"nce": pixel_nce(anchors, positives, others, matched, chosen, self.cfg.temperature)}
        with torch.no_grad():
            found = (anchors @ second.transpose(1, 2)).argmax(-1, keepdim=True)  # (n, k, 1)
            right = matched & ~apart.gather(2, found)[..., 0]
        means = self._means({**parts, "accuracy": (right.sum(), matched.sum())})
        loss = torch.stack([means[name] for name in parts]).sum()
        signs = health(anchors[:, 0], positives[:, 0])
        return {
            "loss": loss, **{name: value.detach() for name, value in means.items()},
            "matched": matched.to(loss).mean(), **signs,
        }  # fmt: skip

    def _strangers(self, second: Tensor, seeds: Tensor) -> Tensor:
        """Drawn places of other pictures' second views, of all processes: (n, q, d)."""
        everyone = gather(second)  # (m, p, d)
        own = own_columns(len(second), len(everyone), rank() * len(second), second.device)[:, None]  # (n, 1)
        picture, place = uniform_on_device(seeds, 2 * self.cfg.others, _OTHERS).chunk(2, 1)  # (n, q) each
        away = 1 + (picture * (len(everyone) - 1)).long()
        return everyone[(own + away) % len(everyone), (place * everyone.shape[1]).long()]

    def _means(self, terms: dict[str, Terms]) -> dict[str, Tensor]:
        """Sums of this process by the counts of all, and times their number: the mean over processes is then exact."""
        dtype = next(iter(terms.values()))[0].dtype
        sums = torch.stack([total.to(dtype) for total, _ in terms.values()])
        counts = all_reduce(torch.stack([count.to(sums) for _, count in terms.values()]))
        return dict(zip(terms, sums * world_size() / counts.clamp(min=1), strict=True))

    def _nearest(self, there: Tensor) -> Tensor:
        """The grid's places under points (n, k, 2), long (n, k); at most half a cell away."""
        x, y = (there * self.grid).long().clamp(0, self.grid - 1).unbind(-1)
        return y * self.grid + x

    @staticmethod
    def _at(table: Tensor, places: Tensor) -> Tensor:
        """Rows (n, k, ...) of a table (n, p, ...) at places (n, k)."""
        return table[torch.arange(len(table), device=table.device)[:, None], places]

    def geometries(self, batch: Batch) -> tuple[Geometry, Geometry]:
        """Of the first and the second view."""
        height, width = batch["images"].shape[2:]
        seeds = batch["seeds"]
        return Geometry(seeds, height, width, self.crops.first, 0), Geometry(seeds, height, width, self.crops.second, 1)

    def negatives(self, rows: int) -> int:
        """Places of the second view, and drawn ones of other pictures."""
        return self.grid**2 - 1 + self.cfg.others

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Matching points of both views, the same colour for the same point; where the nearest descriptor puts them in
        the second view; and the descriptors of both views as colours."""
        pair = [make_views(batch["images"], batch["seeds"], c, s) for s, c in enumerate(self._pair())]
        places, there, matched = (part[:, :_SHOWN] for part in self.drawn(batch))
        maps = F.normalize(self.describe(self.encoder, self.large(batch), (self.grid,) * 2), dim=-1)
        first, second = maps.flatten(1, 2).chunk(2)  # (n, p, d) each
        found = (self._at(first, places) @ second.transpose(1, 2)).argmax(-1)  # (n, k)
        points = grid_points(self.grid, places.device)
        one, other = as_colours(maps.movedim(-1, 1), self.crops.first.side).chunk(2)
        return {
            "first view": marked(pair[0], points[places], matched),
            "the same points": marked(pair[1], there, matched),
            "points found": marked(pair[1], points[found], matched),
            "descriptors": one,
            "of the second view": other,
        }

    def _pair(self) -> tuple:  # type: ignore[type-arg]
        return self.crops.first, self.crops.second
