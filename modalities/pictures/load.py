"""Reads, checks and splits any table of pictures."""

import json
from dataclasses import dataclass
from itertools import islice
from typing import Any

import datasets
import numpy as np

from modalities.cell_files import Cells
from modalities.cells import refuse_if_bad
from modalities.pictures.checks import bad_images
from modalities.pictures.config import TableConfig
from modalities.pictures.reader import Collection, Reader, class_names, collect
from modalities.pictures.rows import ImageSet, Row, fingerprint
from modalities.splits import split
from modalities.tables import Table, column_names, open_table

_USUAL_LABELS = ("label", "cls")  # of image folders and most sets on the Hub; of webdataset


def load_table(config: TableConfig, caption_column: str = "") -> ImageSet:
    """The pictures of a Hub set, folder or file; with `caption_column`, those of them that have a caption.

    `config.label_column` "auto" takes a column that is usually the label, where there is one.
    Raises ValueError, in one sentence that names what to change, for whatever cannot be read: a missing path or column,
    cells of the wrong type, too many unusable rows, nothing left to train on.
    """
    if config.stream:
        return _streamed(config, caption_column)
    table, found = _collect(config, config.split, caption_column)
    if len(found.ids) <= config.check_images:
        found = found.without(bad_images(found, range(len(found.ids))))
    refuse_if_bad(found.dropped, found.rows_read, config.max_bad, config.source)
    counts: dict[str, Any] = {"rows": found.rows_read, "unique": len(found.ids)}
    if config.test_split:
        _, held = _collect(config, config.test_split, caption_column)
        held = _checked(held, config)
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
            refuse_if_bad(found.dropped, found.rows_read, config.max_bad, config.source)
    classes = class_names(found, held) if config.test_split else class_names(found)
    rows = found.rows(classes)
    train, test = rows.select(train_side), held.rows(classes) if config.test_split else rows.select(test_side)
    dropped = {cause: len(places) for cause, places in found.dropped.items()}
    return ImageSet(
        name=table.name,
        train=train,
        test=test,
        classes=classes,
        licence=table.licence,
        credit=table.name,
        fingerprint=fingerprint(train, test, classes),
        counts=counts | {"dropped": dropped, "train": len(train), "test": len(test)},
        dropped=found.dropped,
    )


def _streamed(config: TableConfig, caption_column: str) -> ImageSet:
    if not config.test_split:
        raise ValueError("data.stream needs data.test_split, because images cannot be held out of a stream.")
    table, reader = _open(config, config.split, caption_column)
    held = _checked(collect(*_open(config, config.test_split, caption_column), limit=config.held_out), config)
    classes = reader.declared or class_names(held)
    test = held.rows(classes)
    to_row = _StreamRow(reader, {name: i for i, name in enumerate(classes)})
    train = table.rows.map(to_row, remove_columns=table.columns).filter(_Usable(set(held.ids), reader))
    head = [{**row, "image": None} for row in islice(train, 100)]
    if not head:
        what = "an image and a caption" if caption_column else "an image"
        raise ValueError(f"Split {config.split!r} of {config.source} has no row with {what}.")
    return ImageSet(
        name=table.name,
        train=train,
        test=test,
        classes=classes,
        licence=table.licence,
        credit=table.name,
        fingerprint=fingerprint(test, test, classes, json.dumps(head).encode()),
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
    reader: Reader

    def __call__(self, row: Row) -> bool:
        return not self.reader.fault(row["image"] or None, row["captions"]) and row["id"] not in self.held


def _open(config: TableConfig, split_name: str, caption_column: str) -> tuple[Table, Reader]:
    table = open_table(config.source, config.subset, split_name, config.stream)
    images, captions = column_names(config.image_column), column_names(caption_column)
    label = config.label_column
    if label == "auto":
        label = next((name for name in _USUAL_LABELS if name in table.columns), "")
    wanted = set(table.require_any(images, "image_column"))
    wanted |= {table.require(name, "caption_column") for name in captions}
    if config.id_column:
        wanted.add(table.require(config.id_column, "id_column"))
    if label:
        wanted.add(table.require(label, "label_column"))
    feature = (table.rows.features or {}).get(label)
    declared = list(feature.names) if isinstance(feature, datasets.ClassLabel) else []
    reader = Reader(config.source, table.folder, images, captions, config.id_column, label, declared)
    return table.select([name for name in table.columns if name in wanted]), reader


def _collect(config: TableConfig, split_name: str, caption_column: str) -> tuple[Table, Collection]:
    table, reader = _open(config, split_name, caption_column)
    cells = table.select(list(dict.fromkeys(table.require_any(reader.image_columns, "image_column"))))
    return table, collect(table, reader, images=Cells(cells, reader.image_columns, "image"))


def _checked(held: Collection, config: TableConfig) -> Collection:
    """The images of a test split that can be decoded."""
    held = held.without(bad_images(held, range(len(held.ids))))
    refuse_if_bad(held.dropped, held.rows_read, config.max_bad, f"{config.source}, split {config.test_split}")
    return held
