"""What a model makes of the places of images: where its class token looks, and which places it holds for alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from evaluation.figures import Pixels
from evaluation.sheets import panel_sheet

_SIDE = 96  # pixels of a map in a sheet
_MOST = 20  # segments that have a colour of their own
_OPAQUE = 0.7


def class_attention_sheet(
    images: Sequence[Pixels], maps: Mapping[str, ArrayLike], path: str | Path, title: str = "", credit: str = ""
) -> None:
    """Draw a row per image (h, w, 3) uint8: the image, and for each model one map per attention head.

    maps: {model: (n, heads, y, x)}, not negative, of any resolution. Each runs from its own smallest to its own largest
    value: places of one map compare, maps do not, and one that is nearly even shows its noise. Raises ValueError for
    maps of another shape.
    """
    columns: dict[str, NDArray[np.floating]] = {"image": _shown(images)}
    for model, given in maps.items():
        found = np.asarray(given, dtype=np.float64)
        if found.ndim != 4 or len(found) != len(images) or not (found >= 0).all():
            raise ValueError(
                f"class_attention_sheet: maps of shape {found.shape} of {model!r} for {len(images)} images; pass "
                "(images, heads, y, x), nothing negative."
            )
        for head in range(found.shape[1]):
            columns[f"{model}, head {head + 1}"] = np.stack([_heat(one[head]) for one in found])
    panel_sheet(columns, path, title, credit)


def segment_sheet(
    images: Sequence[Pixels], segments: Mapping[str, ArrayLike], path: str | Path, title: str = "", credit: str = ""
) -> None:
    """Draw a row per image (h, w, 3) uint8: the image, and for each model its segments as colours over the greyed
    image. One colour is one segment in all images; colours of two models have nothing to do with each other.

    segments: {model: (n, y, x)} whole numbers from 0 to 19. Raises ValueError for others.
    """
    columns: dict[str, NDArray[np.floating]] = {"image": _shown(images)}
    for model, given in segments.items():
        found = np.asarray(given)
        if found.ndim != 3 or len(found) != len(images) or found.min() < 0 or found.max() >= _MOST:
            raise ValueError(
                f"segment_sheet: segments of shape {found.shape} of {model!r} for {len(images)} images; pass "
                f"(images, y, x) of numbers from 0 to {_MOST - 1}."
            )
        columns[model] = np.stack([_coloured(*pair) for pair in zip(columns["image"], found, strict=True)])
    panel_sheet(columns, path, title, credit)


def _shown(images: Sequence[Pixels]) -> NDArray[np.floating]:
    """All of one size, in [0, 1]: (n, side, side, 3)."""
    squares = [Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(square) for square in squares]) / 255


def _heat(found: NDArray[np.float64]) -> NDArray[np.floating]:
    low, high = float(found.min()), float(found.max())
    scaled = ((found - low) / max(high - low, 1e-12)).astype(np.float32)  # (y, x)
    smooth = np.asarray(Image.fromarray(scaled).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
    heat: NDArray[np.floating] = mpl.colormaps["inferno"](smooth)[..., :3]
    return heat


def _coloured(image: NDArray[np.floating], found: NDArray[np.integer]) -> NDArray[np.floating]:
    large = np.asarray(Image.fromarray(found.astype(np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST))
    colours = np.asarray(mpl.colormaps["tab20"].colors)[large]  # type: ignore[attr-defined]
    grey = (image @ [0.299, 0.587, 0.114])[..., None]
    painted: NDArray[np.floating] = _OPAQUE * colours + (1 - _OPAQUE) * grey
    return painted
