"""Random views of images, many at once, on whatever device the images are.

Every view is one resample (crop, mirror, size and blur), then one map of colours. Each number is a hash of the row's
seed, so that a view does not depend on the other rows, the process or the device, except for rounding. The blur joins
the resample and so comes before the colours, where SimCLR (2002.05709) blurs after them.

Which rows are blurred or changed by a policy is known to the device alone. A CPU looks and works on those rows; a GPU
would be kept waiting by the question, so there all rows are worked on and the results chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.vision.views.blur import blur_all, blur_chosen
from modalities.vision.views.colour import COLOUR_DRAWS, factors, recolour, solarise
from modalities.vision.views.crop import CROP_DRAWS, combine_columns, combine_rows, matrix, random_boxes, taps
from modalities.vision.views.policy import POLICY_DRAWS, random_augment

# Every use has its columns whether or not it is switched on, so that switching one on does not move the others.
_COLUMNS = [CROP_DRAWS, 1, 2, COLOUR_DRAWS, 1]
# Bytes of float images at a time: on a CPU its cache is the limit, elsewhere the memory.
_PART_CPU, _PART = 2 << 20, 256 << 20


@dataclass(frozen=True)
class ViewConfig:
    """How a view differs from its image. Default: crop and flip only."""

    side: int = 64
    """Height and width of a view in pixels."""
    min_area: float = 0.3
    """Smallest crop, as a share of the image's area; 1 takes the whole image."""
    max_area: float = 1.0
    """Largest crop."""
    bicubic: bool = False
    """Resample with Pillow's BICUBIC instead of its BILINEAR; both are filtered against aliasing."""
    flip: float = 0.5
    """Probability of mirroring."""
    jitter: float = 0.0
    """Probability of changing the colours by the four strengths below."""
    brightness: float = 0.4
    """Factors of brightness lie this far around 1."""
    contrast: float = 0.4
    """Likewise for contrast."""
    saturation: float = 0.4
    """Likewise for saturation."""
    hue: float = 0.1
    """Hue turns by at most this share of the circle, either way."""
    grey: float = 0.0
    """Probability of losing all colour."""
    blur: float = 0.0
    """Probability of a Gaussian blur."""
    min_sigma: float = 0.1
    """Smallest width of the blur, in pixels of the view."""
    max_sigma: float = 2.0
    """Largest."""
    solarise: float = 0.0
    """Probability of inverting the bright half of the values."""
    policy_ops: int = 0
    """Random operations of a RandAugment policy on each image (1909.13719); 0 for none."""
    policy_strength: float = 0.3
    """Strength of these operations, from 0 to 1."""

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"views.side {self.side} must be at least 1 pixel.")
        if not 0 < self.min_area <= self.max_area <= 1:
            raise ValueError(
                f"views.min_area {self.min_area:g} and views.max_area {self.max_area:g} are shares of the image: "
                "give 0 < min_area <= max_area <= 1."
            )
        for name in ("flip", "jitter", "grey", "blur", "solarise", "policy_strength"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"views.{name} {getattr(self, name):g} must lie between 0 and 1.")
        for name in ("brightness", "contrast", "saturation", "policy_ops"):
            if getattr(self, name) < 0:
                raise ValueError(f"views.{name} {getattr(self, name):g} must not be negative.")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"views.hue {self.hue:g} must lie between 0 and 0.5, half of the circle of hues.")
        if not 0 < self.min_sigma <= self.max_sigma:
            raise ValueError(
                f"views.min_sigma {self.min_sigma:g} and views.max_sigma {self.max_sigma:g} are widths in pixels: "
                "give 0 < min_sigma <= max_sigma."
            )


@torch.no_grad()
def make_views(images: Tensor, seeds: Tensor, cfg: ViewConfig, stream: int = 0) -> Tensor:
    """One view of every image: (n, 3, side, side) fp32 in [0, 1].

    A row's view depends on its seed and `stream` alone. Several views are several streams, several sizes (multi-crop)
    several `cfg`.

    Args:
        images: uint8 (n, 3, h, w), n at least 1.
        seeds: int64 (n,).
        cfg: what to do.
        stream: other streams give unrelated views.
    """
    assert images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] == 3, (images.dtype, images.shape)
    assert len(images) == len(seeds) > 0, f"{len(images)} images and {len(seeds)} seeds"
    n, _, h, w = images.shape
    u = uniform_on_device(seeds, sum(_COLUMNS) + POLICY_DRAWS * cfg.policy_ops, stream)
    crop, flip, blur, colour, negative, policy = u.split([*_COLUMNS, POLICY_DRAWS * cfg.policy_ops], 1)
    views = torch.empty(n, 3, cfg.side, cfg.side, device=images.device)
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 has not even the 256 values of a byte
        height, width = (torch.full((), size, device=images.device) for size in (h, w))
        boxes = random_boxes(crop, height, width, cfg.min_area, cfg.max_area)  # (n, 4)
        found = factors(colour, cfg.jitter, cfg.brightness, cfg.contrast, cfg.saturation, cfg.hue, cfg.grey)  # (n, 4)
        for part in _parts(images, cfg):
            view = _cropped(images[part], boxes[part], flip[part, 0] < cfg.flip, blur[part], cfg)
            if cfg.policy_ops:
                random_augment(view, policy[part], cfg.policy_strength)
            if cfg.jitter or cfg.grey:
                view = recolour(view, found[part])
            torch.clamp(view, 0, 1, out=views[part])
    return solarise(views, negative[:, 0] < cfg.solarise) if cfg.solarise else views


def view_boxes(seeds: Tensor, height: Tensor, width: Tensor, cfg: ViewConfig, stream: int = 0) -> Tensor:
    """The boxes that `make_views` cuts out: left, top, right, bottom in pixels, (n, 4).

    seeds int64 (n,); height and width of the images, (n,) or ().
    """
    u = uniform_on_device(seeds, CROP_DRAWS, stream)
    return random_boxes(u, height, width, cfg.min_area, cfg.max_area)


def view_flips(seeds: Tensor, cfg: ViewConfig, stream: int = 0) -> Tensor:
    """Which views `make_views` mirrors, bool (n,). seeds int64 (n,)."""
    return uniform_on_device(seeds, CROP_DRAWS + 1, stream)[:, -1] < cfg.flip


def _cropped(images: Tensor, boxes: Tensor, flip: Tensor, blur: Tensor, cfg: ViewConfig) -> Tensor:
    """Cut out, mirrored, resized, blurred: uint8 (n, 3, h, w) -> fp32 (n, 3, side, side) in [0, 1]."""
    (h, w), side = images.shape[2:], cfg.side
    pixels = images.float()
    if cfg.min_area == 1 and h == w == side and not cfg.blur:
        return torch.where(flip[:, None, None, None], pixels.flip(3), pixels).div_(255)
    left, top, right, bottom = boxes.unbind(1)  # (n,) each
    left, right = torch.where(flip, right, left), torch.where(flip, left, right)
    columns = matrix(taps(left, right, w, side, cfg.bicubic), w).div_(255)  # (n, side, w)
    pixels = combine_rows(pixels, taps(top, bottom, h, side, cfg.bicubic))  # (n, 3, side, w)
    if cfg.blur:
        chosen = blur[:, 0] < cfg.blur  # (n,)
        sigma = cfg.min_sigma + (cfg.max_sigma - cfg.min_sigma) * blur[:, 1]
        blur_rows = blur_chosen if images.device.type == "cpu" else blur_all
        pixels, columns = blur_rows(pixels, columns, chosen, sigma)
    views = combine_columns(pixels, columns)
    return views.clamp_(0, 1) if cfg.bicubic else views


def _parts(images: Tensor, cfg: ViewConfig) -> Iterator[slice]:
    """Rows to work on at a time."""
    budget = _PART_CPU if images.device.type == "cpu" and not cfg.policy_ops else _PART  # few rows share an operation
    step = max(1, budget // (4 * images[0].numel()))
    return (slice(start, start + step) for start in range(0, len(images), step))
