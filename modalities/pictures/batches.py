"""Many pictures at once: prepared for a published encoder, or small for classic features."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from modalities.media import CorruptMedia, decode
from modalities.pictures.rows import Bytes, Pixels, Rows

log = logging.getLogger(__name__)


def readable(rows: Rows) -> Rows:
    """The rows whose pictures can be decoded; large sets were not checked when they were read. Logs the others."""
    if isinstance(rows.images, Pixels):
        return rows
    good = []
    for place in range(len(rows)):
        row = rows[place]
        try:
            decode(row["image"], row["id"])
        except CorruptMedia as error:
            log.warning("image %d: %s; it is left out", row["id"], error.cause)
        else:
            good.append(place)
    return rows.select(good)


def pixel_batches(rows: Rows, image_processor: Any, size: int = 256) -> Iterator[Tensor]:
    """The pictures of `rows` as the published image processor prepares them: (<= size, 3, h, w) each."""
    for start in range(0, len(rows), size):
        some = rows.__getitems__(list(range(start, min(start + size, len(rows)))))
        images = [decode(row["image"], row["id"]) for row in some]
        yield image_processor(images, return_tensors="pt")["pixel_values"]


def thumbnails(rows: Rows, side: int) -> Bytes:
    """The pictures of `rows` squeezed to squares: (n, side, side, 3)."""
    images = (decode(row["image"], row["id"]) for row in rows)
    return np.stack([np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) for image in images])
