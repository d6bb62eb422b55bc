"""A folder of audio files as a table: one row a file, its class the sub-folder, what else is known in metadata.csv."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets

from modalities.tables import Table

ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
_TABLES = (".parquet", ".tar", ".csv", ".jsonl", ".json", ".tsv")
_METADATA = ("metadata.csv", "metadata.jsonl")
_SPLITS = {"train", "test", "valid", "validation", "dev", "eval"}


def folder_table(source: str, split: str, stream: bool, has_splits: bool = False) -> Table | None:
    """The recordings under the folder `source`; None where that is no folder, or one of tables alone.

    The sub-folder `split` is taken alone if sub-folders are splits: because the options say so (`has_splits`, or a
    split other than train), or because all have names of splits. Else "train" may be a class among others.

    Columns: audio (paths from the folder), label (the first sub-folder, where there are several), and those of
    metadata.csv or metadata.jsonl, whose column file_name says which file a line is about. Raises ValueError, in one
    sentence, for a folder without recordings, an unknown split, tables beside recordings, and unreadable metadata.
    """
    root = Path(source).expanduser()
    if not root.is_dir():
        return None
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    sounds = [path for path in files if path.suffix.lower() in ENDINGS]
    tables = [path for path in files if path.suffix.lower() in _TABLES and path.name not in _METADATA]
    if not sounds and not tables:
        raise ValueError(f"data.source={source!r} holds no recordings ({', '.join(ENDINGS)}): put some there.")
    if not sounds:
        return None
    if tables:
        raise ValueError(
            f"data.source={source!r} holds {len(sounds)} recordings and also {tables[0].relative_to(root).as_posix()}: "
            "name that file if it is meant, or call it metadata.csv if it is about the recordings."
        )
    tops = {path.relative_to(root).parts[0] for path in sounds if path.parent != root}
    are_splits = has_splits or split != "train" or tops <= _SPLITS
    parts = [path for path in sounds if are_splits and path.relative_to(root).parts[0] == split]
    if not parts and split != "train":
        raise ValueError(f"data.source={source!r} has no sub-folder {split!r} with recordings: name one that is there.")
    base, chosen = (root / split, parts) if parts else (root, sounds)
    known = _metadata(base, root) or _metadata(root, root)
    rows = {path.relative_to(root).as_posix(): _row(path.relative_to(base)) for path in chosen}
    for name, columns in known.items():
        if not (root / name).is_relative_to(base):
            continue  # of another split
        rows.setdefault(name, {}).update(columns)
    if len({row.get("label") for row in rows.values()}) == 1:
        rows = {name: {key: value for key, value in row.items() if key != "label"} for name, row in rows.items()}
    names = list(dict.fromkeys(key for row in rows.values() for key in row))
    cells: dict[str, list[Any]] = {"audio": list(rows)}
    cells |= {name: [row.get(name) for row in rows.values()] for name in names}
    table = datasets.Dataset.from_dict(cells)
    return Table(source, table.to_iterable_dataset() if stream else table, list(cells), root)


def _row(path: Path) -> dict[str, Any]:
    return {"label": path.parts[0]} if len(path.parts) > 1 else {}


def _metadata(folder: Path, root: Path) -> dict[str, dict[str, Any]]:
    """What metadata.csv or metadata.jsonl in `folder` says of each file, by its path from `root`; empty without one."""
    found: dict[str, dict[str, Any]] = {}
    for path in (folder / name for name in _METADATA):
        if not path.is_file():
            continue
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                lines = list(csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file))
            for number, line in enumerate(lines, start=1):
                if not isinstance(line, dict):
                    raise ValueError(f"row {number} is no object of names and values")
                if None in line:  # where csv puts what is left over
                    raise ValueError(f"row {number} has more cells than columns: put texts with commas in quotes")
                if not isinstance(line.get("file_name"), str):
                    raise ValueError(f"row {number} has no file_name: name there the file that it is about")
                found[(folder / line.pop("file_name")).relative_to(root).as_posix()] = line
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}.") from error
        _refuse_mixed(path, lines)
    return found


def _refuse_mixed(path: Path, lines: list[dict[str, Any]]) -> None:
    for name in dict.fromkeys(name for line in lines for name in line):
        try:
            datasets.Dataset.from_dict({name: [line.get(name) for line in lines]})
        except (ValueError, TypeError) as error:  # of pyarrow
            raise ValueError(f"{path} holds values of several kinds in column {name!r}: give all the same.") from error
