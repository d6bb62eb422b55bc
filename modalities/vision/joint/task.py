"""What all joint-embedding methods share: several views of every picture, and signs of health."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, build_encoder, normalise, pooled, require_side
from modalities.vision.joint.health import verdict
from modalities.vision.joint.views import JointViews
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig, make_views
from objectives.gather import world_size

_PATIENCE = 3  # bad signs in a row, in what is logged, that end a run
_BEGINNING = 0.25  # share of a run, in which views of a picture need not be alike yet


class JointTask(VisionTask):
    """A method that compares embeddings of views.

    Training batches: images uint8 (n, 3, h, w), seeds int64 (n,); index int64 (n,), the place of each picture among the
    training pictures, where `indexed`; labels int64 (n,), -1 for none, where `labelled`.

    State of a method (teacher, queue, centre, prototypes) moves in `after_step` alone: a forward pass keeps what it
    wants to add until then, so a step that is skipped moves nothing.
    """

    indexed: bool = False
    labelled: bool = False
    two_views: bool = True
    """Whether the second large view takes part, or the first alone."""
    multi_crop: bool = False
    """Whether small views take part, where there are any."""
    centred: bool = False
    """Whether health is that of embeddings less their mean: see `verdict`."""
    unwell: Tensor  # () int64, logged steps in a row with a bad sign

    def __init__(self, model: ModelConfig, views: JointViews) -> None:
        super().__init__(views.first)
        if views.small_count and not self.multi_crop:
            raise ValueError(
                f"views.small_count is {views.small_count}, but {type(self).__name__} compares large views alone; set "
                "it to 0."
            )
        self.crops = views
        self.encoder = build_encoder(model)
        require_side(self.encoder, views.first.side, "views.first.side")
        if views.small_count:
            require_side(self.encoder, views.small.side, "views.small.side")
        self.register_buffer("unwell", torch.zeros((), dtype=torch.int64))

    def large(self, batch: Batch) -> Tensor:
        """Both large views as the encoder takes them, (2n, 3, side, side): all first views, then all second ones."""
        return self._views(batch, [(self.crops.first, 0), (self.crops.second, 1)])

    def small(self, batch: Batch) -> Tensor:
        """All small views, (k*n, 3, s, s), view by view; k = `views.small_count`, at least 1."""
        return self._views(batch, [(self.crops.small, 2 + k) for k in range(self.crops.small_count)])

    def _views(self, batch: Batch, wanted: Iterable[tuple[ViewConfig, int]]) -> Tensor:
        views = [make_views(batch["images"], batch["seeds"], cfg, stream) for cfg, stream in wanted]
        return normalise(torch.cat(views).to(self.dtype))

    def features(self, pixels: Tensor) -> Tensor:
        """What downstream gets of views, (n, d)."""
        return pooled(self.encoder, pixels)

    def negatives(self, rows: int) -> int:
        """How many negatives each query is told apart from in a step of `rows` pictures over all processes; 0 for a
        method without any."""
        return 0

    def require(self, rows_per_step: int, steps: int) -> None:
        """What cannot work with this batch and this many steps is refused here, before a run.

        Args:
            rows_per_step: pictures of a step, over all processes.
            steps: updates of the whole run; 0 where that is not known.

        Raises:
            ValueError: in one sentence that names the option.
        """
        if rows_per_step < 2 * world_size():
            raise ValueError(
                f"train.batch_size {rows_per_step} leaves fewer than 2 pictures to each of {world_size()} processes, "
                f"and nothing to compare one with; give {2 * world_size()} or more."
            )

    def views_in_words(self, rows: int) -> str:
        """What the encoder is shown in a step of `rows` pictures: "256 views of 64 px and 512 of 32 px"."""
        crops, large = self.crops, 2 if self.two_views else 1
        small = f" and {crops.small_count * rows:,} of {crops.small.side} px" if crops.small_count else ""
        return f"{large * rows:,} views of {crops.first.side} px{small}"

    def all_at_rest(self) -> list[nn.Parameter]:
        """What is to rest (`resting`) in a step whose loss is 0 because nothing is known yet: all weights but a bias or
        scale. That one does not decay, and zeros leave it where it is; of no gradient at all, an update cannot take the
        norm."""
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        still = next(weight for weight in reversed(learning) if weight.ndim <= 1)
        return [weight for weight in learning if weight is not still]

    def diagnose(self, scalars: Mapping[str, float], progress: float) -> str:
        """See `Task`; judges by `health`'s scalars, after three bad signs in a row."""
        found = verdict(scalars, labelled=self.labelled, centred=self.centred and progress > _BEGINNING)
        self.unwell.copy_(self.unwell + 1 if found else torch.zeros_like(self.unwell))
        return found if int(self.unwell) >= _PATIENCE else ""

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Every picture and the views of it that are to be known as one."""
        shown: Panels = {"picture": batch["images"].to(self.dtype) / 255}
        for name, (cfg, stream) in self._named().items():
            shown[name] = make_views(batch["images"], batch["seeds"], cfg, stream)
        return shown

    def _named(self) -> dict[str, tuple[ViewConfig, int]]:
        first = {"first view": (self.crops.first, 0)}
        second = {"second view": (self.crops.second, 1)} if self.two_views else {}
        small = {f"small view {k + 1}": (self.crops.small, 2 + k) for k in range(self.crops.small_count)}
        return first | second | small
