"""Crops of the 17 photographs that scikit-image and scikit-learn carry: the default data, which no run must download.

The left part of each photograph is for training and the right part, after a gap, for testing, so that no pixel is on
both sides; the label, for evaluation only, is the photograph. Telling held-out parts by their photograph takes texture,
material and colour: raw pixels do badly at it, a trained encoder much better than a random one.
"""

import numpy as np
from PIL import Image

from modalities.media import decode
from modalities.packages import package_folder
from modalities.pictures.rows import Bytes, ImageSet, labelled_pixels, pixel_set

# Crops of a quarter of the height hold parts of objects: with much larger ones colour alone names the photograph, and
# much smaller ones have nothing in them. A stride of a quarter of a crop gives enough of them to train on.
SHORT = 384
"""Short side of a photograph in pixels."""
CROP = 96
STRIDE = 24
TRAIN, TEST = 0.62, 0.30
"""Shares of the width, from the left and from the right; 31 pixels or more remain between them."""

_SKIMAGE = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cell": "cell.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble": "hubble_deep_field.jpg",
    "tissue": "ihc.png",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}
_SKLEARN = {"china": "china.jpg", "flower": "flower.jpg"}
NAMES = [*_SKIMAGE, *_SKLEARN]
LICENCE = "other"
CREDIT = (
    "Photographs from scikit-image and scikit-learn. Public domain: astronaut and hubble (NASA), rocket (SpaceX). CC0: "
    "brick and gravel (CC0Textures), grass (linolafett), camera (Lav Varshney), cell (Paul Müller et al.), chelsea "
    "(Stefan van der Walt), coffee (Rachel Michetti), retina (Mikael Häggström). No known restrictions: coins "
    "(Brooklyn Museum), tissue (CMMI). CC BY 2.0: china (danielbuechele), flower (vultilion). No licence stated: moon, "
    "motorcycle (Middlebury stereo benchmark, Scharstein et al. 2014)."
)


def read_photos(side: int) -> ImageSet:
    """All crops at `side` x `side`, photograph by photograph. Raises ValueError where scikit-image is not installed."""
    skimage = package_folder("skimage", "photos", "pip install -e '.[demo]'") / "data"
    sklearn = package_folder("sklearn", "photos") / "datasets" / "images"
    files = [skimage / name for name in _SKIMAGE.values()] + [sklearn / name for name in _SKLEARN.values()]
    pixels: list[Bytes] = []
    labels: list[int] = []
    sides: tuple[list[int], list[int]] = ([], [])
    for label, file in enumerate(files):
        if not file.is_file():
            raise ValueError(f"The photos data needs {file.name}, which this {file.parts[-3]} lacks: upgrade it.")
        photograph = _resized(decode(str(file), file.name))
        for places, part in zip(sides, parts(photograph), strict=True):
            found = crops(part)
            places += range(len(labels), len(labels) + len(found))
            labels += [label] * len(found)
            pixels += found
    if side != CROP:
        pixels = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in pixels]
    return pixel_set("photos", labelled_pixels(np.stack(pixels), labels), sides, NAMES, LICENCE, CREDIT)


def parts(photograph: Bytes, train: float = TRAIN, test: float = TEST) -> tuple[Bytes, Bytes]:
    """The left and the right part of (h, w, 3): (h, w * train, 3) and (h, w * test, 3)."""
    width = photograph.shape[1]
    return photograph[:, : int(width * train)], photograph[:, width - int(width * test) :]


def crops(part: Bytes) -> list[Bytes]:
    """All crops that lie within `part` (h, w, 3), row by row: (CROP, CROP, 3) each."""
    height, width = part.shape[:2]
    return [
        part[y : y + CROP, x : x + CROP]
        for y in range(0, height - CROP + 1, STRIDE)
        for x in range(0, width - CROP + 1, STRIDE)
    ]


def _resized(photograph: Image.Image) -> Bytes:
    scale = SHORT / min(photograph.size)
    size = round(photograph.width * scale), round(photograph.height * scale)
    return np.asarray(photograph.resize(size, Image.Resampling.BICUBIC))
