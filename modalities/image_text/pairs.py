"""Pairs of an image and its captions: rows, and the split into training and held-out images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from modalities.draws import mix

if TYPE_CHECKING:
    from datasets import IterableDataset

Source = Image.Image | bytes | str  # an open picture, a file's bytes, or a path
Images = Callable[[list[int]], list[Source]]  # fetches pictures by their place in the source, undecoded


class Row(TypedDict):
    """One image. `id` is unique per image, `base` is shared by variants of one thing (see `openmoji`)."""

    id: int
    image: Source
    captions: list[str]
    label: int | None
    base: int


@dataclass(frozen=True)
class Rows:
    """An indexable set of images with their captions; pictures are fetched on access and decoded by the collator."""

    images: Images
    places: list[int]
    """Where each row's picture is in the source."""
    ids: npt.NDArray[np.int64]
    captions: list[list[str]]
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

    def select(self, indices: Sequence[int]) -> "Rows":
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


@dataclass(frozen=True)
class Pairs:
    """A data set, split. `train` is a `datasets.IterableDataset` of rows when streamed, `Rows` otherwise."""

    name: str
    train: "Rows | IterableDataset"
    test: Rows
    classes: list[str]
    """Names of the labels; empty without labels."""
    class_words: list[list[str]]
    """For each class the phrases that prompts for zero-shot classification may use."""
    licence: str
    credit: str
    fingerprint: str
    """Hash of the contents and of the split: equal in every process and run that sees the same data."""
    counts: dict[str, Any]
    """Rows read, unique images, rows dropped by cause, and ids in train and test (of a stream, what is known)."""
    dropped: dict[str, list[int]] = field(default_factory=dict)
    """Row numbers that were left out, by cause."""


def split(ids: npt.NDArray[np.int64], held_out: int, seed: int) -> tuple[list[int], list[int]]:
    """Positions (train, test) such that `held_out` ids are in test and no id is on both sides.

    Ids are ranked by a hash of (seed, id), so an id keeps its side however the rows are ordered, and repeated rows of
    one image go together. Raises ValueError when nothing would be left to train on.
    """
    unique = np.unique(ids)
    if not 0 <= held_out < len(unique):
        raise ValueError(
            f"held_out={held_out} leaves nothing to train on: the data has {len(unique)} different "
            f"images; hold out fewer."
        )
    rank = mix(unique.astype(np.uint64) ^ mix(np.array([seed], dtype=np.uint64)))
    test_ids = unique[np.argsort(rank, kind="stable")[:held_out]]
    in_test = np.isin(ids, test_ids)
    return np.flatnonzero(~in_test).tolist(), np.flatnonzero(in_test).tolist()


def unseen_bases(train: Rows, test: Rows) -> npt.NDArray[np.bool_]:
    """For each test row whether its `base` never occurs in training: (n,), true for unseen concepts."""
    return ~np.isin(test.bases, train.bases)
