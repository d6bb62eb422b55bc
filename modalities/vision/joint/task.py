"""What all joint-embedding methods share: several views of every picture, and signs of health."""

from collections.abc import Mapping

import torch
from torch import Tensor

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, build_encoder, normalise, pooled
from modalities.vision.joint.health import verdict
from modalities.vision.joint.views import JointViews
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import make_views

_PATIENCE = 3  # bad signs in a row, in what is logged, that end a run


class JointTask(VisionTask):
    """A method that compares embeddings of views.

    Training batches: images uint8 (n, 3, h, w), seeds int64 (n,); index int64 (n,), the place of each picture among the
    training pictures, where `indexed`; labels int64 (n,), -1 for none, where `labelled`.

    State of a method (teacher, queue, centre, prototypes) moves in `after_step` alone: a forward pass keeps what it
    wants to add until then, so a step that is skipped moves nothing.
    """

    indexed: bool = False
    labelled: bool = False
    unwell: Tensor  # () int64, logged steps in a row with a bad sign

    def __init__(self, model: ModelConfig, views: JointViews) -> None:
        super().__init__(views.first)
        self.crops = views
        self.encoder = build_encoder(model)
        self.register_buffer("unwell", torch.zeros((), dtype=torch.int64))

    def large(self, batch: Batch) -> Tensor:
        """Both large views as the encoder takes them, (2n, 3, side, side): all first views, then all second ones."""
        return self._views(batch, [(self.crops.first, 0), (self.crops.second, 1)])

    def small(self, batch: Batch) -> Tensor:
        """All small views, (k*n, 3, s, s), view by view; k = `views.small_count`, at least 1."""
        return self._views(batch, [(self.crops.small, 2 + k) for k in range(self.crops.small_count)])

    def _views(self, batch: Batch, wanted: list) -> Tensor:  # type: ignore[type-arg]
        views = [make_views(batch["images"], batch["seeds"], cfg, stream) for cfg, stream in wanted]
        return normalise(torch.cat(views).to(self.dtype))

    def features(self, pixels: Tensor) -> Tensor:
        """What downstream gets of views, (n, d)."""
        return pooled(self.encoder, pixels)

    def negatives(self, rows: int) -> int:
        """How many negatives each query is told apart from in a step of `rows` pictures over all processes; 0 for a
        method without any."""
        return 0

    def diagnose(self, scalars: Mapping[str, float], progress: float) -> str:
        """See `Task`; judges by `health`'s scalars, after three bad signs in a row."""
        found = verdict(scalars)
        self.unwell.copy_(self.unwell + 1 if found else torch.zeros_like(self.unwell))
        return found if int(self.unwell) >= _PATIENCE else ""

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Every picture and the views of it that are to be known as one."""
        shown: Panels = {"picture": batch["images"].to(self.dtype) / 255}
        for name, (cfg, stream) in self._named().items():
            shown[name] = make_views(batch["images"], batch["seeds"], cfg, stream)
        return shown

    def _named(self) -> dict:  # type: ignore[type-arg]
        small = {f"small view {k + 1}": (self.crops.small, 2 + k) for k in range(self.crops.small_count)}
        return {"first view": (self.crops.first, 0), "second view": (self.crops.second, 1), **small}
