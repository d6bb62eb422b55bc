"""The views that joint-embedding methods compare: two large ones of each picture, and small ones for multi-crop."""

from dataclasses import dataclass, field, replace

from modalities.vision.views import presets
from modalities.vision.views.pipeline import ViewConfig


@dataclass(frozen=True)
class JointViews:
    """How the views of a picture differ from it and from one another. Default: SimCLR's for small pictures."""

    first: ViewConfig = field(default_factory=lambda: presets.simclr(64, 0.5))
    """The first large view."""
    second: ViewConfig = field(default_factory=lambda: presets.simclr(64, 0.5))
    """The second one, of the same size."""
    small: ViewConfig = field(default_factory=lambda: presets.simclr(32, 0.5))
    """Small views, for methods that compare them with the large ones."""
    small_count: int = 0
    """How many small views of each picture."""

    def __post_init__(self) -> None:
        if self.first.side != self.second.side:
            raise ValueError(
                f"views.first.side {self.first.side} and views.second.side {self.second.side} differ, but both go "
                "through the encoder in one batch; make them equal."
            )
        if self.small_count < 0:
            raise ValueError(f"views.small_count is {self.small_count}; it must not be negative.")


def moco(side: int) -> JointViews:
    """MoCo v1's views (1911.05722)."""
    return JointViews(presets.moco(side), presets.moco(side))


def byol(side: int) -> JointViews:
    """BYOL's two unequal views (2006.07733)."""
    first, second = presets.byol(side)
    return JointViews(first, second)


def multi_crop(side: int, small_side: int, small_count: int) -> JointViews:
    """DINO's views (2104.14294): two large ones and some small ones."""
    return JointViews(*presets.dino(side, small_side), small_count)


def swav(side: int, small_side: int, small_count: int) -> JointViews:
    """SwAV's views (2006.09882): SimCLR's colours, large views of at least 0.14 of the picture, and small ones, of up
    to 0.4 of it as DINO's (0.14 in the paper, whose small views are larger)."""
    large = replace(presets.simclr(side, 0.5), min_area=0.14)
    small = replace(large, side=small_side, min_area=0.05, max_area=0.4)
    return JointViews(large, large, small, small_count)


def colourful(side: int) -> JointViews:
    """CMC's views (1906.05849): crops and mirrors, with the colours as they are."""
    return JointViews(*(ViewConfig(side=side, min_area=0.2) for _ in range(3)))


def overlapping(side: int) -> JointViews:
    """SimCLR's views with crops of at least 0.3 of the picture, so that two of them mostly show some of the same."""
    return JointViews(*(replace(presets.simclr(side, 0.5), min_area=0.3) for _ in range(3)))
