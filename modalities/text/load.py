"""Reads, checks and splits any table of texts."""

import json
import logging
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from modalities.cells import refuse_if_bad, sorted_classes
from modalities.splits import count_of, joined, split
from modalities.tables import Table, column_names, open_table
from modalities.text.config import DataConfig
from modalities.text.reader import Collection, Reader, Unusable, collect
from modalities.text.rows import TextSet, fingerprint

log = logging.getLogger(__name__)

_JUDGED = 1000  # rows of a stream
_USUAL_LABELS = ("label", "cls")  # of most sets on the Hub; of webdataset


def load_table(config: DataConfig) -> TextSet:
    """The texts of a Hub set, folder or file.

    Equal texts stay on one side of the split, and so do the rows of one document where `config.id_column` names it.
    Raises ValueError, in one sentence that names what to change, for whatever cannot be read: a missing path or column,
    cells of the wrong type, too many unusable rows, nothing left to train on.
    """
    if config.stream:
        return _streamed(config)
    table, found = _collect(config, config.split)
    documents = _documents(found)
    counts: dict[str, Any] = {"rows": found.rows_read, "repeated": len(found.texts) - len(set(map(tuple, found.texts)))}
    if config.test_split:
        _, held = _collect(config, config.test_split)
        shared = np.isin(documents, _documents(held)) | np.isin(found.contents, held.contents)
        counts["also_in_test"] = int(shared.sum())
        train_side = np.flatnonzero(~shared).tolist()
        if not train_side:
            raise ValueError(
                f"Split {config.split!r} of {config.source} has no usable text that is not in {config.test_split!r} "
                f"too: choose another data.test_split."
            )
        classes = sorted_classes(chain(found.labels, held.labels))
        rows = found.rows(classes, documents)
        train, test = rows.select(train_side), held.rows(classes, _documents(held))
    else:
        train_side, test_side = hold_out(documents, config)
        classes = sorted_classes(found.labels)
        rows = found.rows(classes, documents)
        train, test = rows.select(train_side), rows.select(test_side)
    return TextSet(
        name=table.name,
        train=train,
        test=test,
        roles=column_names(config.text_column),
        classes=classes,
        licence=table.licence,
        credit=table.name,
        fingerprint=fingerprint(train, test, classes),
        counts=counts | {"dropped": _numbers(found), "train": len(train), "test": len(test)},
        dropped=found.dropped,
    )


def hold_out(documents: npt.NDArray[np.int64], config: DataConfig) -> tuple[list[int], list[int]]:
    """Positions (train, test) that `config` asks for. Raises ValueError when nothing would be left to train on."""
    there = len(np.unique(documents))
    count = count_of(config.held_out, there)
    if count and there == 1:
        raise ValueError(
            f"{config.source} is a single document, of which none can be held out: set data.unit to paragraph or line "
            f"where it is a .txt file, or data.held_out to 0."
        )
    return split(documents, count, config.split_seed, "documents")


def _streamed(config: DataConfig) -> TextSet:
    if not config.test_split:
        raise ValueError("data.stream needs data.test_split, because documents cannot be held out of a stream.")
    if config.held_out < 1:
        raise ValueError(
            f"data.held_out={config.held_out:g} is a share, and how long a stream is nobody knows: say how many rows "
            "of data.test_split to read."
        )
    table, reader = _open(config, config.split)
    _, held = _collect(config, config.test_split, limit=int(config.held_out))
    classes = reader.declared or sorted_classes(held.labels)
    if classes or config.label_column != "auto":  # a usual name is no promise that the labels are there
        reader = replace(reader, known=frozenset(classes))
    test = held.rows(classes, _documents(held))
    usable = _Usable(reader, {*held.documents, *held.contents}, config.max_bad)
    to_row = _StreamRow(reader, {name: i for i, name in enumerate(classes)})
    train = table.rows.filter(usable).map(to_row, remove_columns=table.columns)
    first = _first(table, reader, config)
    head = list(islice(train, 100))
    if not head:
        raise ValueError(f"Split {config.split!r} of {config.source} has no row with text that is not held out.")
    return TextSet(
        name=table.name,
        train=train,
        test=test,
        roles=column_names(config.text_column),
        classes=classes,
        licence=table.licence,
        credit=table.name,
        fingerprint=fingerprint(test, test, classes, json.dumps(head).encode()),
        counts={"dropped": _numbers(held), "test": len(test)}
        | {"first_rows": {"rows": first.rows_read, "dropped": _numbers(first)}},
        dropped=held.dropped,
    )


def _first(table: Table, reader: Reader, config: DataConfig) -> Collection:
    """The first rows of a stream, which speak for the others: nobody can count those before training."""
    first = collect(Table(table.source, table.rows.take(_JUDGED), table.columns, table.folder), reader)
    where = f"{config.source}, first {first.rows_read} rows"
    refuse_if_bad(first.dropped, first.rows_read, config.max_bad, where, first.where)
    return first


@dataclass(frozen=True)
class _StreamRow:
    reader: Reader
    classes: dict[str, int]

    def __call__(self, raw: dict[str, Any]) -> dict[str, Any]:
        return dict(self.reader.row(raw, self.classes))


@dataclass
class _Usable:
    """Whether a raw row of a stream can be trained on. Nobody can count beforehand those that cannot: they are logged
    at the 1st, 2nd, 4th, 8th ..., and more than the share `max_bad` of at least 1,000 rows is a ValueError."""

    reader: Reader
    held: set[int]
    max_bad: float
    read: int = 0
    bad: int = 0

    def __call__(self, raw: dict[str, Any]) -> bool:
        self.read += 1
        try:
            texts, _, _ = self.reader.texts(raw), self.reader.label(raw), self.reader.score(raw)
        except Unusable as fault:
            self._count(f"{fault.cause} {fault.where}".rstrip())
            return False
        return self.reader.document(raw, texts) not in self.held and self.reader.contents(texts) not in self.held

    def _count(self, fault: str) -> None:
        self.bad += 1
        source, so_far = self.reader.source, f"{self.bad} of {self.read} rows"
        if self.read >= _JUDGED and self.bad > self.max_bad * self.read:
            raise ValueError(
                f"{source}: {so_far} are unusable, more than data.max_bad={self.max_bad:g} allows, the last for "
                f"{fault}; repair them or raise data.max_bad."
            )
        if self.bad & (self.bad - 1) == 0:
            log.warning("%s: a row is left out: %s (%s so far)", source, fault, so_far)


def _open(config: DataConfig, split_name: str) -> tuple[Table, Reader]:
    texts = column_names(config.text_column)
    if not texts:
        raise ValueError("data.text_column is empty: name the column that holds the texts.")
    table = open_table(config.source, config.subset, split_name, config.stream, config.unit)
    label = config.label_column
    if label == "auto":
        label = next((name for name in _USUAL_LABELS if name in table.columns), "")
    asked = {"text_column": texts, "id_column": [config.id_column], "label_column": [label],
             "score_column": [config.score_column]}  # fmt: skip
    wanted = {table.require(name, option) for option, names in asked.items() for name in names if name}
    wanted |= {"file", "start"} & set(table.columns)  # where in a text file
    feature = (table.rows.features or {}).get(label)
    declared = list(feature.names) if isinstance(feature, datasets.ClassLabel) else []
    reader = Reader(config.source, texts, config.id_column, label, config.score_column, declared)
    return table.select([name for name in table.columns if name in wanted]), reader


def _collect(config: DataConfig, split_name: str, limit: int | None = None) -> tuple[Table, Collection]:
    table, reader = _open(config, split_name)
    found = collect(table, reader, limit)
    where = config.source if split_name == config.split else f"{config.source}, split {split_name}"
    refuse_if_bad(found.dropped, found.rows_read, config.max_bad, where, found.where)
    if not found.texts:
        raise ValueError(f"Split {split_name!r} of {config.source} has no row with text.")
    return table, found


def _documents(found: Collection) -> npt.NDArray[np.int64]:
    """Names the documents such that equal texts, too, are in one."""
    return joined(np.array(found.documents, dtype=np.int64), np.array(found.contents, dtype=np.int64))


def _numbers(found: Collection) -> dict[str, int]:
    return {cause: len(places) for cause, places in found.dropped.items()}
