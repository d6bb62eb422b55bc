"""From the rows of a table to pictures: repeated ones joined, unusable rows left out and counted."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from modalities.cell_files import InMemory, first_source
from modalities.cells import class_of, identity, sorted_classes
from modalities.pictures.rows import Images, Rows, Source
from modalities.tables import Table, lookup, texts_of


@dataclass(frozen=True)
class Reader:
    """Reads the cells of one raw row, without decoding the picture."""

    source: str
    folder: Path | None
    """What relative paths start from (see `Table`)."""
    image_columns: list[str]
    caption_columns: list[str]
    """Empty where pictures are wanted alone."""
    id_column: str
    label_column: str
    declared: list[str]
    """Class names that the table declares for its numbers; empty where the cells are names themselves."""

    def image(self, raw: dict[str, Any]) -> Source | None:
        return first_source(raw, self.image_columns, self.folder, "image")

    def identity(self, raw: dict[str, Any], image: Source | None) -> int:
        """A number of 63 bits, the same for equal pictures (or equal entries of the id column) everywhere."""
        if self.id_column:
            content = str(lookup(raw, self.id_column)).encode()
        elif isinstance(image, bytes):
            content = image
        else:
            # Relative to the table, so that a data set keeps its ids when its folder moves.
            content = os.path.relpath(str(image), self.folder or ".").encode()
        return identity(content)

    def captions(self, raw: dict[str, Any]) -> list[str]:
        """All captions that are not blank, each once. Raises ValueError where a cell holds something else."""
        return texts_of(raw, self.caption_columns, self.source, "caption_column")

    def label(self, raw: dict[str, Any]) -> str | None:
        """Name of the class; None for an empty cell or -1, the usual "unknown". Raises ValueError for other types."""
        value = lookup(raw, self.label_column) if self.label_column else None
        return class_of(value, self.declared, self.label_column, self.source)

    def fault(self, image: Source | None, captions: list[str]) -> str | None:
        """Why a row cannot be used; None for a good one, as far as that is seen without decoding."""
        if image is None:
            return "no image"
        return "no caption" if self.caption_columns and not captions else None


@dataclass
class Collection:
    """The usable pictures of a table, in the order of their first rows."""

    images: Images
    rows_read: int = 0
    places: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    dropped: dict[str, list[int]] = field(default_factory=dict)

    def drop(self, row: int, cause: str) -> None:
        self.dropped.setdefault(cause, []).append(row)

    def rows(self, classes: Sequence[str]) -> Rows:
        number = {name: i for i, name in enumerate(classes)}
        ids = np.array(self.ids, dtype=np.int64)
        labels = [None if name is None else number.get(name) for name in self.labels]
        return Rows(self.images, self.places, ids, self.captions, labels, bases=ids)

    def without(self, bad: dict[int, str]) -> "Collection":
        """A collection that lacks the pictures at the positions `bad`, counted by cause."""
        keep = [i for i in range(len(self.ids)) if i not in bad]
        dropped = {cause: list(rows) for cause, rows in self.dropped.items()}
        rest = Collection(
            self.images,
            self.rows_read,
            [self.places[i] for i in keep],
            [self.ids[i] for i in keep],
            [self.captions[i] for i in keep],
            [self.labels[i] for i in keep],
            dropped,
        )
        for i, cause in bad.items():
            rest.drop(self.places[i], cause)
        return rest


def collect(table: Table, reader: Reader, images: Images | None = None, limit: int | None = None) -> Collection:
    """Reads a table once, up to `limit` pictures; without `images` to fetch them from, they stay in memory."""
    kept: dict[int, Source] = {}
    found = Collection(images or InMemory(kept))
    position: dict[int, int] = {}
    for place, raw in enumerate(table.rows):
        if limit is not None and len(position) >= limit:
            break
        found.rows_read += 1
        image, captions = reader.image(raw), reader.captions(raw)
        fault = reader.fault(image, captions)
        if fault or image is None:
            found.drop(place, fault or "no image")
            continue
        key = reader.identity(raw, image)
        if key in position:
            known = found.captions[position[key]]
            known.extend(caption for caption in captions if caption not in known)
            continue
        position[key] = len(found.ids)
        if images is None:
            kept[place] = image
        found.places.append(place)
        found.ids.append(key)
        found.captions.append(captions)
        found.labels.append(reader.label(raw))
    return found


def class_names(*collections: Collection) -> list[str]:
    """All labels that occur, sorted; numbers by their value."""
    return sorted_classes(chain.from_iterable(found.labels for found in collections))
