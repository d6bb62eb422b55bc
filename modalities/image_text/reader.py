"""From the rows of a table to images with captions: repeated images joined, unusable rows left out and counted."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from modalities.image_text.config import DataConfig
from modalities.image_text.pairs import Images, Rows, Source
from modalities.image_text.tables import Table, first_picture, lookup
from modalities.media import CorruptMedia, decode

log = logging.getLogger(__name__)


def column_names(option: str) -> list[str]:
    """The names in an option that may list several, separated by commas."""
    return [name.strip() for name in option.split(",") if name.strip()]


@dataclass(frozen=True)
class Reader:
    """Reads the cells of one raw row, without decoding the image."""

    config: DataConfig
    folder: Path | None
    declared: list[str]
    """Class names that the table declares for its numbers; empty where the cells are names themselves."""

    def image(self, raw: dict[str, Any]) -> Source | None:
        return first_picture(raw, column_names(self.config.image_column), self.folder)

    def identity(self, raw: dict[str, Any], image: Source | None) -> int:
        """A number of 63 bits, the same for equal images (or equal entries of the id column) everywhere."""
        if self.config.id_column:
            content = str(lookup(raw, self.config.id_column)).encode()
        elif isinstance(image, bytes):
            content = image
        else:
            # Relative to the table, so that a data set keeps its ids when its folder moves.
            content = os.path.relpath(str(image), self.folder or ".").encode()
        return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") >> 1

    def captions(self, raw: dict[str, Any]) -> list[str]:
        """All captions that are not blank, each once. Raises ValueError where a cell holds something else."""
        found: list[str] = []
        for column in column_names(self.config.caption_column):
            value = lookup(raw, column)
            for text in value if isinstance(value, list) else [value]:
                if text is not None and not isinstance(text, str):
                    raise ValueError(
                        f"Column {column!r} of {self.config.source} holds {type(text).__name__} where "
                        f"captions should be: set data.caption_column."
                    )
                if text and text.strip():
                    found.append(text.strip())
        return list(dict.fromkeys(found))

    def label(self, raw: dict[str, Any]) -> str | None:
        value = lookup(raw, self.config.label_column) if self.config.label_column else None
        if value is None or not self.declared:
            return None if value is None else str(value)
        return self.declared[value] if 0 <= value < len(self.declared) else None  # -1 is the usual "unknown"


@dataclass
class Collection:
    """The usable images of a table, in the order of their first rows."""

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
        """A collection that lacks the images at the positions `bad`, counted by cause."""
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


@dataclass(frozen=True)
class InMemory:
    """Images of a stream's test rows, by place."""

    sources: dict[int, Source]

    def __call__(self, places: list[int]) -> list[Source]:
        return [self.sources[place] for place in places]


def collect(table: Table, reader: Reader, images: Images | None = None, limit: int | None = None) -> Collection:
    """Reads a table once, up to `limit` images; without `images` to fetch them from, the pictures stay in memory."""
    kept: dict[int, Source] = {}
    found = Collection(images or InMemory(kept))
    position: dict[int, int] = {}
    for place, raw in enumerate(table.rows):
        if limit is not None and len(position) >= limit:
            break
        found.rows_read += 1
        image, captions = reader.image(raw), reader.captions(raw)
        if image is None or not captions:
            found.drop(place, "no image" if image is None else "no caption")
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


def bad_images(found: Collection, positions: Sequence[int]) -> dict[int, str]:
    """Decodes the images at `positions` and returns the causes of those that fail, by position."""

    def cause(i: int) -> tuple[int, str | None]:
        place = found.places[i]
        try:
            decode(found.images([place])[0], place)
        except CorruptMedia as error:
            return i, error.cause
        return i, None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the interpreter's lock
        results = pool.map(cause, positions)
        bar = tqdm(results, "checking images", total=len(positions), disable=None, leave=False)
        return {i: why for i, why in bar if why is not None}


def refuse_if_bad(found: Collection, max_bad: float, source: str) -> None:
    """Logs what was dropped; raises ValueError when that is more than the share `max_bad` of the rows read."""
    bad = sum(map(len, found.dropped.values()))
    if not bad:
        return
    causes = ", ".join(
        f"{len(rows)} {cause} (row {', '.join(map(str, rows[:3]))}{' ...' if len(rows) > 3 else ''})"
        for cause, rows in sorted(found.dropped.items())
    )
    if bad > max_bad * found.rows_read:
        raise ValueError(
            f"{source}: {bad} of {found.rows_read} rows are unusable, more than data.max_bad={max_bad:g} "
            f"allows: {causes}; repair them or raise data.max_bad."
        )
    log.warning("%s: left out %d of %d rows: %s", source, bad, found.rows_read, causes)


def class_names(*collections: Collection) -> list[str]:
    """All labels that occur, sorted."""
    return sorted({name for name in chain.from_iterable(found.labels for found in collections) if name is not None})
