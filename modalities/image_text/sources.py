"""Where pairs come from: emoji by default, or any table of images and captions."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import datasets
import numpy as np

from modalities.image_text.config import DataConfig
from modalities.image_text.openmoji import CREDIT, LICENCE, Drawings, load_openmoji
from modalities.image_text.pairs import Pairs, Row, Rows, split
from modalities.image_text.reader import (
    Collection,
    Reader,
    bad_images,
    class_names,
    collect,
    column_names,
    refuse_if_bad,
)
from modalities.image_text.tables import Cells, Table, open_table


def load(config: DataConfig, side: int = 48) -> Pairs:
    """Reads, checks and splits the data. OpenMoji is drawn at `side` pixels; other images keep their size.

    Raises ValueError, in one sentence that names what to change, for whatever cannot be read: a missing path, column
    or package, cells of the wrong type, too many unusable rows, nothing left to train on.
    """
    if not config.source:
        raise ValueError("data.source is empty: name a Hub data set, a folder or a file.")
    if config.source == "openmoji":
        return _openmoji(config, side)
    if config.stream:
        return _streamed(config)
    return _tabular(config)


def sample_captions(data: Pairs, rows: int = 100_000) -> Iterator[str]:
    """Training captions, those of the first `rows` images of a stream: what a tokenizer is trained on."""
    if isinstance(data.train, Rows):
        return (caption for captions in data.train.captions for caption in captions)
    return (caption for row in islice(data.train, rows) for caption in row["captions"])


def _openmoji(config: DataConfig, side: int) -> Pairs:
    if config.stream or config.test_split:
        raise ValueError(
            "data.source=openmoji is neither streamed nor split in files: drop data.stream and data.test_split."
        )
    rows, classes, words, drawn = load_openmoji(side)
    train, test = (rows.select(side) for side in split(rows.ids, config.held_out, config.split_seed))
    assert isinstance(rows.images, Drawings)
    return Pairs(
        name="openmoji",
        train=train,
        test=test,
        classes=classes,
        class_words=words,
        licence=LICENCE,
        credit=CREDIT,
        fingerprint=_fingerprint(train, test, classes, rows.images.pixels.tobytes()),
        counts={"rows": drawn, "unique": len(rows), "dropped": {}, "train": len(train), "test": len(test)},
    )


def _tabular(config: DataConfig) -> Pairs:
    table = _open(config, config.split)
    found = _collect(config, table)
    if len(found.ids) <= config.check_images:
        found = found.without(bad_images(found, range(len(found.ids))))
    refuse_if_bad(found, config.max_bad, config.source)
    counts: dict[str, Any] = {"rows": found.rows_read, "unique": len(found.ids)}
    if config.test_split:
        held = _collect(config, _open(config, config.test_split))
        held = held.without(bad_images(held, range(len(held.ids))))
        refuse_if_bad(held, config.max_bad, f"{config.source}, split {config.test_split}")
        shared = np.isin(found.ids, held.ids)
        counts["also_in_test"] = int(shared.sum())
        train_side = np.flatnonzero(~shared).tolist()
        if not train_side:
            raise ValueError(
                f"Split {config.split!r} of {config.source} has no usable image that is not in "
                f"{config.test_split!r} too: choose another data.test_split."
            )
    else:
        train_side, test_side = split(np.array(found.ids, dtype=np.int64), config.held_out, config.split_seed)
        if len(found.ids) > config.check_images:  # the rest is met while training, but evaluation must not fail
            bad = bad_images(found, test_side)
            for i, cause in bad.items():
                found.drop(found.places[i], cause)
            test_side = [i for i in test_side if i not in bad]
            refuse_if_bad(found, config.max_bad, config.source)
    classes = class_names(found, held) if config.test_split else class_names(found)
    rows = found.rows(classes)
    train, test = rows.select(train_side), held.rows(classes) if config.test_split else rows.select(test_side)
    dropped = {cause: len(places) for cause, places in found.dropped.items()}
    return Pairs(
        name=_name(config.source),
        train=train,
        test=test,
        classes=classes,
        class_words=[[name] for name in classes],
        licence=_licence(table),
        credit=_name(config.source),
        fingerprint=_fingerprint(train, test, classes),
        counts=counts | {"dropped": dropped, "train": len(train), "test": len(test)},
        dropped=found.dropped,
    )


def _streamed(config: DataConfig) -> Pairs:
    if not config.test_split:
        raise ValueError("data.stream needs data.test_split, because images cannot be held out of a stream.")
    table = _open(config, config.split)
    held_table = _open(config, config.test_split)
    held = collect(held_table, _reader(config, held_table), limit=config.held_out)
    held = held.without(bad_images(held, range(len(held.ids))))
    refuse_if_bad(held, config.max_bad, f"{config.source}, split {config.test_split}")
    reader = _reader(config, table)
    classes = reader.declared or class_names(held)
    test = held.rows(classes)
    to_row = _StreamRow(reader, {name: i for i, name in enumerate(classes)})
    train = table.rows.map(to_row, remove_columns=table.columns).filter(_Usable(set(held.ids)))
    head = [{**row, "image": None} for row in islice(train, 100)]
    if not head:
        raise ValueError(f"Split {config.split!r} of {config.source} has no row with an image and a caption.")
    return Pairs(
        name=_name(config.source),
        train=train,
        test=test,
        classes=classes,
        class_words=[[name] for name in classes],
        licence=_licence(table),
        credit=_name(config.source),
        fingerprint=_fingerprint(test, test, classes, json.dumps(head).encode()),
        counts={"dropped": {cause: len(rows) for cause, rows in held.dropped.items()}, "test": len(test)},
        dropped=held.dropped,
    )


@dataclass(frozen=True)
class _StreamRow:
    reader: Reader
    classes: dict[str, int]

    def __call__(self, raw: dict[str, Any]) -> Row:
        image, label = self.reader.image(raw), self.reader.label(raw)
        key = self.reader.identity(raw, image)
        return Row(
            id=key,
            image=image or b"",
            captions=self.reader.captions(raw),
            base=key,
            label=None if label is None else self.classes.get(label),
        )


@dataclass(frozen=True)
class _Usable:
    held: set[int]

    def __call__(self, row: Row) -> bool:
        return bool(row["image"]) and bool(row["captions"]) and row["id"] not in self.held


def _open(config: DataConfig, split_name: str) -> Table:
    table = open_table(config.source, config.subset, split_name, config.stream)
    wanted = set(table.require_any(column_names(config.image_column), "image_column"))
    wanted |= {table.require(name, "caption_column") for name in column_names(config.caption_column)}
    if config.id_column:
        wanted.add(table.require(config.id_column, "id_column"))
    if config.label_column:
        wanted.add(table.require(config.label_column, "label_column"))
    return table.select([name for name in table.columns if name in wanted])


def _reader(config: DataConfig, table: Table) -> Reader:
    feature = (table.rows.features or {}).get(config.label_column)
    return Reader(config, table.folder, list(feature.names) if isinstance(feature, datasets.ClassLabel) else [])


def _collect(config: DataConfig, table: Table) -> Collection:
    columns = column_names(config.image_column)
    cells = table.select(list(dict.fromkeys(table.require_any(columns, "image_column"))))
    return collect(table, _reader(config, table), images=Cells(cells, columns))


def _name(source: str) -> str:
    """A Hub id as it is; of a local path the last part, for cards are read elsewhere."""
    return source if not os.path.isabs(source) else os.path.basename(source.rstrip("/"))


def _licence(table: Table) -> str:
    return (table.rows.info.license or "unknown") if table.rows.info else "unknown"


def _fingerprint(train: Rows, test: Rows, classes: list[str], pictures: bytes = b"") -> str:
    """Of ids, captions, labels and split. Images count through their ids: by content where the table holds them."""
    digest = hashlib.sha256(pictures)
    for rows in (train, test):
        digest.update(rows.ids.tobytes())
        for captions, label in zip(rows.captions, rows.labels, strict=True):
            digest.update(json.dumps([captions, label]).encode())
        digest.update(b"/")
    digest.update(json.dumps(classes).encode())
    return digest.hexdigest()[:32]
