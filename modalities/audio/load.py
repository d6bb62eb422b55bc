"""Reads, checks and splits any table of recordings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import datasets
import numpy as np

from modalities.audio.checks import examined
from modalities.audio.config import DataConfig
from modalities.audio.folder import ENDINGS, folder_table
from modalities.audio.reader import Collection, Reader, collect
from modalities.audio.rows import AudioSet, Row, Rows, fingerprint
from modalities.cell_files import Cells
from modalities.cells import refuse_if_bad, sorted_classes
from modalities.splits import count_of, joined, split
from modalities.tables import Table, column_names, open_table

_USUAL = {
    "audio_column": ("audio",),
    "text_column": ("text", "sentence", "transcription", "transcript", "caption", "txt"),
    "label_column": ("label", "cls"),
    "speaker_column": ("speaker_id", "speaker", "client_id"),
}


def load_table(config: DataConfig) -> AudioSet:
    """The recordings of a Hub set, folder or file, with transcripts, classes and speakers where it has them.

    Equal files, and rows of one group, stay on one side of the split. Raises ValueError, in one sentence that names
    what to change, for whatever cannot be read: a missing path or column, cells of the wrong type, too many unusable
    rows, nothing left to train on.
    """
    if config.stream:
        return _streamed(config)
    table, found = _collect(config, config.split)
    all_checked = len(found) <= config.check_files
    if all_checked:
        found = examined(found, range(len(found)))
    _refuse(found, config, config.split)
    counts: dict[str, Any] = {"rows": found.rows_read, "unique": len(found)}
    if config.test_split:
        held = _collect(config, config.test_split)[1]
        held = examined(held, range(len(held)))
        _refuse(held, config, config.test_split)
        pairs = ((found.ids, held.ids), (found.contents, held.contents), (found.groups, held.groups))
        shared = np.any([np.isin(*pair) for pair in pairs], axis=0)
        counts["also_in_test"] = int(shared.sum())
        train_side = np.flatnonzero(~shared).tolist()
        if not train_side:
            raise ValueError(
                f"Split {config.split!r} of {config.source} has no usable recording that is not in "
                f"{config.test_split!r} too: choose another data.test_split."
            )
        classes, speakers = _names(found, held)
        train, test = found.rows(classes, speakers).select(train_side), held.rows(classes, speakers)
        contents = _contents(found, train_side) + _contents(held)
    else:
        of = [np.array(some, dtype=np.int64) for some in (found.ids, found.contents, found.groups)]
        groups = joined(joined(of[0], of[1]), of[2])
        count = count_of(config.held_out, len(np.unique(groups)))
        things = "groups" if config.group_column else "recordings"
        train_side, test_side = split(groups, count, config.split_seed, things)
        if not all_checked:  # the rest is met while training, but evaluation must not fail
            held_ids = np.array(found.ids)[test_side]
            found = examined(found, test_side)
            _refuse(found, config, config.split)
            in_test = np.isin(found.ids, held_ids)
            train_side, test_side = np.flatnonzero(~in_test).tolist(), np.flatnonzero(in_test).tolist()
        classes, speakers = _names(found)
        rows = found.rows(classes, speakers)
        train, test = rows.select(train_side), rows.select(test_side)
        contents = _contents(found, train_side) + _contents(found, test_side)
    return AudioSet(
        **_described(table, config, found),
        train=train,
        test=test,
        classes=classes,
        speakers=speakers,
        fingerprint=fingerprint(train, test, [*classes, "/", *speakers], contents),
        counts=counts | _counts(found, test) | {"train": len(train)},
    )


def _streamed(config: DataConfig) -> AudioSet:
    if config.group_column:
        raise ValueError(
            "data.group_column keeps rows together where some are held out, and of a stream none are: leave it out."
        )
    if not config.test_split:
        raise ValueError("data.stream needs data.test_split, because recordings cannot be held out of a stream.")
    if config.held_out < 1:
        raise ValueError(
            f"data.held_out={config.held_out:g} is a share, and how long a stream is nobody knows: say how many rows "
            "of data.test_split to read."
        )
    table, reader = _open(config, config.split)
    held = collect(*_open(config, config.test_split), limit=int(config.held_out))
    held = examined(held, range(len(held)))
    _refuse(held, config, config.test_split)
    classes, speakers = _names(held)
    classes = reader.declared.get(reader.label_column, classes)
    speakers = reader.declared.get(reader.speaker_column, speakers)
    test = held.rows(classes, speakers)
    numbers = [{name: i for i, name in enumerate(names)} for names in (classes, speakers)]
    to_row = _StreamRow(reader, *numbers)
    train = table.rows.map(to_row, remove_columns=table.columns).filter(_Usable({*held.ids, *held.contents}))
    head = [{**row, "audio": None} for row in islice(train, 100)]
    if not head:
        raise ValueError(f"Split {config.split!r} of {config.source} has no row with audio that is not held out.")
    return AudioSet(
        **_described(table, config, held),
        train=train,
        test=test,
        classes=classes,
        speakers=speakers,
        fingerprint=fingerprint(test, test, [*classes, "/", *speakers], _contents(held) + json.dumps(head).encode()),
        counts=_counts(held, test),
    )


@dataclass(frozen=True)
class _StreamRow:
    reader: Reader
    classes: dict[str, int]
    speakers: dict[str, int]

    def __call__(self, raw: dict[str, Any]) -> Row:
        return self.reader.row(raw, self.classes, self.speakers)


@dataclass(frozen=True)
class _Usable:
    """Whether a row of a stream has audio, and none of a test recording. What is damaged is met while training."""

    held: set[int]

    def __call__(self, row: Row) -> bool:
        return bool(row["audio"]) and row["id"] not in self.held


def _open(config: DataConfig, split_name: str) -> tuple[Table, Reader]:
    table = folder_table(config.source, split_name, config.stream, has_splits=bool(config.test_split))
    table = table or open_table(config.source, config.subset, split_name, config.stream)
    chosen = {option: _columns(table, getattr(config, option), option) for option in _USUAL}
    audio = chosen["audio_column"]
    if not audio:
        raise ValueError(
            f"{config.source} has no column of recordings that is known by its name: set data.audio_column to one of "
            f"{', '.join(map(repr, table.columns))}."
        )
    asked = [(option, name) for option, names in chosen.items() for name in names if option != "audio_column"]
    asked += [("id_column", config.id_column), ("group_column", config.group_column)]
    wanted = {table.require(name, option) for option, name in asked if name}
    wanted |= set(table.require_any(audio, "audio_column"))
    features = (table.rows.features or {}).items()
    declared = {name: list(feature.names) for name, feature in features if isinstance(feature, datasets.ClassLabel)}
    reader = Reader(
        source=config.source,
        folder=table.folder,
        audio_columns=audio,
        text_columns=chosen["text_column"],
        label_column="".join(chosen["label_column"][:1]),
        speaker_column="".join(chosen["speaker_column"][:1]),
        id_column=config.id_column,
        group_column=config.group_column,
        declared=declared,
    )
    return table.select([name for name in table.columns if name in wanted]), reader


def _columns(table: Table, asked: str, option: str) -> list[str]:
    """The columns that an option names; of those that "auto" stands for the first that is there."""
    if asked != "auto":
        return column_names(asked)
    usual = [name for name in _USUAL[option] if name in table.columns][:1]
    if option == "audio_column" and not usual:
        return [name for name in table.columns if f".{name.rsplit('.', 1)[-1].lower()}" in ENDINGS]
    return usual


def _collect(config: DataConfig, split_name: str) -> tuple[Table, Collection]:
    table, reader = _open(config, split_name)
    cells = table.select(list(dict.fromkeys(table.require_any(reader.audio_columns, "audio_column"))))
    return table, collect(table, reader, Cells(cells, reader.audio_columns, "audio"))


def _refuse(found: Collection, config: DataConfig, split_name: str) -> None:
    where = config.source if split_name == config.split else f"{config.source}, split {split_name}"
    refuse_if_bad(found.dropped, found.rows_read, config.max_bad, where)
    if not len(found):
        raise ValueError(f"Split {split_name!r} of {config.source} has no row with audio.")


def _contents(found: Collection, side: Sequence[int] | None = None) -> bytes:
    """For the fingerprint: what the recordings at `side` are, in that order."""
    contents = np.array(found.contents, dtype=np.int64)
    return (contents if side is None else contents[np.asarray(side, dtype=np.int64)]).tobytes()


def _names(*collections: Collection) -> tuple[list[str], list[str]]:
    """Names of the classes and of the speakers."""
    return (
        sorted_classes(chain.from_iterable(found.labels for found in collections)),
        sorted_classes(chain.from_iterable(found.speakers for found in collections)),
    )


def _described(table: Table, config: DataConfig, found: Collection) -> dict[str, Any]:
    return {
        "name": table.name,
        "rate": config.rate,
        "synthetic": False,
        "licence": table.licence,
        "credit": table.name,
        "dropped": found.dropped,
    }


def _counts(found: Collection, test: Rows) -> dict[str, Any]:
    dropped = {cause: len(places) for cause, places in found.dropped.items()}
    return {"dropped": dropped, "hours": round(sum(found.seconds) / 3600, 2), "test": len(test)}
