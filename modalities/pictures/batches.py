"""Many pictures at once: decoded for training, prepared for a published encoder, or small for classic features."""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from modalities.media import CorruptMedia, decode
from modalities.pictures.rows import Bytes, Pixels, Row, Rows, Source

log = logging.getLogger(__name__)

T = TypeVar("T")

_TOLERATED = 10  # bad images a loader worker may meet before their share is judged


class Decoder(Generic[T]):
    """Decodes the pictures of training batches, and gets past those that cannot be.

    A bad picture (in data too large to check beforehand) gives its place to the next good row of the batch. More than
    the share `max_bad` of them is a ValueError.

    Args:
        read: `modalities.media.decode`, or another function of a source and its id that raises `CorruptMedia`.
    """

    def __init__(self, read: Callable[[Source, int], T], max_bad: float) -> None:
        self.read, self.max_bad = read, max_bad
        self.seen = 0
        self.bad: Counter[str] = Counter()

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], list[T]]:
        """For each place in the batch the row that fills it, and that row's picture."""
        decoded: dict[int, T] = {}
        for place, row in enumerate(rows):
            try:
                decoded[place] = self.read(row["image"], row["id"])
            except CorruptMedia as error:
                log.warning("image %d: %s; another row takes its place", row["id"], error.cause)
                self.bad[error.cause] += 1
        self.seen += len(rows)
        good, bad = list(decoded), sum(self.bad.values())
        if not good or bad > max(_TOLERATED, self.max_bad * self.seen):
            causes = ", ".join(f"{count} {cause}" for cause, count in self.bad.most_common())
            raise ValueError(
                f"{bad} of {self.seen} images cannot be decoded, more than data.max_bad={self.max_bad:g} "
                f"allows: {causes}; repair them or raise data.max_bad."
            )
        places = [good[bisect_left(good, i) % len(good)] for i in range(len(rows))]
        return [rows[place] for place in places], [decoded[place] for place in places]


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
