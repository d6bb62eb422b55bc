"""Sets of pictures, with labels and captions where the source has them, and the split into training and held-out."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from datasets import IterableDataset

Bytes = npt.NDArray[np.uint8]
Source = Image.Image | Bytes | bytes | str  # an open picture, its RGB pixels (h, w, 3), a file's bytes, or a path
Images = Callable[[list[int]], list[Source]]  # fetches pictures by their place in the source, undecoded


class Row(TypedDict):
    """One picture. `id` is unique per picture, `base` is shared by variants of one thing (see `openmoji`)."""

    id: int
    image: Source
    captions: list[str]
    label: int | None
    base: int


@dataclass(frozen=True)
class Pixels:
    """Fetches pictures out of one array: (n, side, side, 3) uint8."""

    pixels: Bytes

    def __call__(self, places: list[int]) -> list[Source]:
        return [self.pixels[place] for place in places]


@dataclass(frozen=True)
class Rows:
    """An indexable set of pictures; they are fetched on access and decoded by the collator."""

    images: Images
    places: list[int]
    """Where each row's picture is in the source."""
    ids: npt.NDArray[np.int64]
    captions: list[list[str]]
    """Of each picture; empty lists where the source has none."""
    labels: list[int | None]
    bases: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Row:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Row]:
        if any(not -len(self) <= i < len(self) for i in indices):
            raise IndexError(f"row {indices} of {len(self)}")  # ends a plain `for row in rows` too
        pictures = self.images([self.places[i] for i in indices])
        return [
            Row(
                id=int(self.ids[i]),
                image=picture,
                captions=self.captions[i],
                label=self.labels[i],
                base=int(self.bases[i]),
            )
            for i, picture in zip(indices, pictures, strict=True)
        ]

    def select(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> "Rows":
        """The rows at `indices`, in that order, sharing the pictures."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Rows(
            images=self.images,
            places=[self.places[i] for i in chosen],
            ids=self.ids[chosen],
            captions=[self.captions[i] for i in chosen],
            labels=[self.labels[i] for i in chosen],
            bases=self.bases[chosen],
        )


def labelled_pixels(pixels: Bytes, labels: Sequence[int], bases: npt.NDArray[np.int64] | None = None) -> Rows:
    """Rows of an array of pictures, (n, side, side, 3), numbered from 0; each its own base unless told otherwise."""
    ids = np.arange(len(pixels), dtype=np.int64)
    return Rows(Pixels(pixels), ids.tolist(), ids, [[] for _ in ids], list(labels), ids if bases is None else bases)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A data set, split. `train` is a `datasets.IterableDataset` of rows when streamed, `Rows` otherwise."""

    name: str
    train: "Rows | IterableDataset"
    test: Rows
    classes: list[str]
    """Names of the labels; empty without labels."""
    licence: str
    credit: str
    fingerprint: str
    """Hash of the contents and of the split: equal in every process and run that sees the same data."""
    counts: dict[str, Any]
    """Rows read, unique pictures, rows dropped by cause, and ids in train and test (of a stream, what is known)."""
    dropped: dict[str, list[int]] = field(default_factory=dict)
    """Row numbers that were left out, by cause."""


def first_of_each(rows: Rows) -> npt.NDArray[np.int64]:
    """Places of one row for each thing: six skin tones of one hand would outvote a class with six members."""
    return np.sort(np.unique(rows.bases, return_index=True)[1])


def pixel_set(
    name: str, rows: Rows, sides: tuple[list[int], list[int]], classes: list[str], licence: str, credit: str
) -> ImageSet:
    """The data set whose pictures are one array (`rows.images` is `Pixels`), split into the positions (train, test)."""
    assert isinstance(rows.images, Pixels)
    train, test = (rows.select(side) for side in sides)
    return ImageSet(
        name=name,
        train=train,
        test=test,
        classes=classes,
        licence=licence,
        credit=credit,
        fingerprint=fingerprint(train, test, classes, rows.images.pixels.tobytes()),
        counts={"rows": len(rows), "unique": len(rows), "dropped": {}, "train": len(train), "test": len(test)},
    )


def fingerprint(train: Rows, test: Rows, classes: list[str], pictures: bytes = b"") -> str:
    """Of ids, captions, labels and split. Pictures count through their ids: by content where the table holds them."""
    digest = hashlib.sha256(pictures)
    for rows in (train, test):
        digest.update(rows.ids.tobytes())
        for captions, label in zip(rows.captions, rows.labels, strict=True):
            digest.update(json.dumps([captions, label]).encode())
        digest.update(b"/")
    digest.update(json.dumps(classes).encode())
    return digest.hexdigest()[:32]
