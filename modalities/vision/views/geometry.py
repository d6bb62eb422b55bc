"""Where a point of one view lies in its picture, and in another view of it."""

import torch
from torch import Tensor

from modalities.vision.views.pipeline import ViewConfig, view_boxes, view_flips


def grid_points(side: int, device: torch.device) -> Tensor:
    """Middles of the places of a grid of side x side, row by row, as shares of its width and height: (side**2, 2), x
    first."""
    at = (torch.arange(side, device=device) + 0.5) / side
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


class Geometry:
    """What `make_views` does to places of pictures of one size: crops and mirrors.

    Points are (n, m, 2), x first: in pixels of the picture, or as shares of the view's width and height. A policy of
    random operations (`cfg.policy_ops`) may move pixels in ways that this does not know.
    """

    def __init__(self, seeds: Tensor, height: int, width: int, cfg: ViewConfig, stream: int = 0) -> None:
        assert not cfg.policy_ops, "a policy may move pixels"
        sizes = (torch.full((), size, device=seeds.device) for size in (height, width))
        boxes = view_boxes(seeds, *sizes, cfg, stream)[:, None]  # (n, 1, 4)
        self.corner, self.extent = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]  # (n, 1, 2) each
        self.flips = view_flips(seeds, cfg, stream)[:, None]  # (n, 1)

    def to_picture(self, points: Tensor) -> Tensor:
        """Points of the view in the picture."""
        return self._mirrored(points) * self.extent + self.corner

    def to_view(self, points: Tensor) -> Tensor:
        """Points of the picture in the view; outside it, some number is below 0 or from 1 up."""
        return self._mirrored((points - self.corner) / self.extent)

    def _mirrored(self, shares: Tensor) -> Tensor:
        x, y = shares.unbind(-1)
        x = torch.where(self.flips, 1 - x, x)  # (n, m)
        return torch.stack([x, y.expand_as(x)], -1)
