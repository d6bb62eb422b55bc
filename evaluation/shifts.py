"""Shifted pictures, for classifiers fitted on clean ones: after Hendrycks and Dietterich 2019, arXiv 1903.12261.

The strengths are of this project: three of each kind, chosen for small pictures, where the paper's would leave nothing.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.figures import Pixels

LEVELS = (1, 2, 3)
_GREY = (0.299, 0.587, 0.114)

Values = NDArray[np.float32]


def shift(images: Pixels, kind: str, level: int, seed: int = 0) -> Pixels:
    """Pictures (n, h, w, 3) uint8, each shifted by `kind` of SHIFTS at a level of 1, 2 or 3; the same ones each time.

    Raises ValueError for another kind, level, shape or type.
    """
    pixels = np.asarray(images)
    if kind not in SHIFTS or level not in LEVELS:
        raise ValueError(f"shift: there is no {kind!r} of level {level}; choose from {', '.join(SHIFTS)}, 1 to 3.")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"shift: got {pixels.dtype} of shape {pixels.shape}; pass uint8 images (n, h, w, 3).")
    change, strengths = SHIFTS[kind]
    draw = np.random.default_rng([seed, list(SHIFTS).index(kind), level])
    found = change(pixels.astype(np.float32), strengths[level - 1], draw)
    return np.clip(np.round(found), 0, 255).astype(np.uint8)


def _noise(images: Values, deviation: float, draw: np.random.Generator) -> Values:
    """Gaussian, of its own in every channel; in shares of the largest value."""
    return images + 255 * deviation * draw.standard_normal(images.shape, np.float32)


def _blur(images: Values, width: float, draw: np.random.Generator) -> Values:
    """Gaussian; its deviation in shares of the shorter side."""
    sigma = width * min(images.shape[1:3])
    found: Values = ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest")
    return found


def _contrast(images: Values, left: float, draw: np.random.Generator) -> Values:
    """Nearer to the picture's mean; what is left of the distance."""
    mean: Values = images.mean(axis=(1, 2, 3), keepdims=True)
    found: Values = mean + left * (images - mean)
    return found


def _grey(images: Values, lost: float, draw: np.random.Generator) -> Values:
    """A share of the colour lost."""
    grey = (images @ np.array(_GREY, np.float32))[..., None]
    return images + lost * (grey - images)


def _occlusion(images: Values, side: float, draw: np.random.Generator) -> Values:
    """A grey square anywhere in the picture; its side in shares of the shorter one."""
    n, h, w, _ = images.shape
    size = round(side * min(h, w))
    found = images.copy()
    tops, lefts = draw.integers(0, h - size + 1, n), draw.integers(0, w - size + 1, n)
    for picture, top, left in zip(found, tops, lefts, strict=True):
        picture[top : top + size, left : left + size] = 127.5
    return found


def _rotation(images: Values, degrees: float, draw: np.random.Generator) -> Values:
    """Turned one way or the other; what lies outside is mirrored."""
    left = draw.random(len(images)) < 0.5
    found = np.empty_like(images)
    for turned, angle in ((left, degrees), (~left, -degrees)):
        if turned.any():
            found[turned] = ndimage.rotate(images[turned], angle, (1, 2), reshape=False, order=1, mode="mirror")
    return found


SHIFTS: Mapping[str, tuple[Callable[[Values, float, np.random.Generator], Values], tuple[float, float, float]]] = {
    "noise": (_noise, (0.04, 0.08, 0.16)),
    "blur": (_blur, (0.01, 0.02, 0.04)),
    "contrast": (_contrast, (0.6, 0.35, 0.15)),
    "grey": (_grey, (0.4, 0.7, 1.0)),
    "occlusion": (_occlusion, (0.25, 0.4, 0.55)),
    "rotation": (_rotation, (10.0, 25.0, 45.0)),
}
