"""Opens tables through `datasets`: Hub sets, folders, parquet, webdataset shards, csv, json lines, text files.

Nothing that a data set brings is run: only the builders that come with `datasets` are used (loading scripts are gone
from it), `pipe:` URLs and pickles are refused, and images and recordings stay bytes or paths until `modalities.media`
or `modalities.audio.decode` reads them.
"""

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from modalities.plain_text import Unit, text_files, text_table

_BUILDERS = {".parquet": "parquet", ".tar": "webdataset", ".csv": "csv", ".jsonl": "json", ".json": "json"}
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class Table:
    """An opened split. Its images and recordings are not decoded."""

    source: str
    rows: "datasets.Dataset | datasets.IterableDataset"
    columns: list[str]
    folder: Path | None
    """What relative paths start from; none for Hub sets, whose rows must not name local files."""

    def require(self, column: str, option: str) -> str:
        """The column that holds `column`, which may be a path into a json field such as `json.caption`."""
        head = column if column in self.columns else column.split(".")[0]
        if head not in self.columns:
            raise ValueError(
                f"{self.source} has no column {column!r}: set data.{option} to one of "
                f"{', '.join(map(repr, self.columns))}."
            )
        return head

    def require_any(self, columns: list[str], option: str) -> list[str]:
        """Those of `columns` that are there; all may be tried in turn, so one is enough."""
        there = [name for name in columns if name in self.columns or name.split(".")[0] in self.columns]
        return [self.require(name, option) for name in there or columns]

    @property
    def name(self) -> str:
        """A Hub id as it is; of a local path the last part, for cards are read elsewhere."""
        return self.source if not os.path.isabs(self.source) else os.path.basename(self.source.rstrip("/"))

    @property
    def licence(self) -> str:
        """As the table declares it."""
        return (self.rows.info.license or "unknown") if self.rows.info else "unknown"

    def select(self, columns: list[str]) -> "Table":
        """Only these columns, so that no other image or sound is decoded on the way."""
        return Table(self.source, self.rows.select_columns(columns), columns, self.folder)


def open_table(source: str, subset: str, split: str, stream: bool, unit: Unit = "file") -> Table:
    """Opens one split of `source`: a local folder, a file or glob, or a data set on the Hub. `unit` is what a row of
    text files is.

    Raises ValueError in one sentence for a path that does not exist, a kind of file that is not read, an unknown
    split, or a Hub that is out of reach.
    """
    if "pipe:" in source or "://" in source:
        raise ValueError(f"data.source={source!r} is refused: give a local path, a glob, or the id of a Hub data set.")
    path = Path(source).expanduser()
    if texts := text_files(source, split, set(_BUILDERS)):
        found = text_table(texts, unit, stream)
        return Table(source, found, list(found.features), path if path.is_dir() else texts[0].parent)
    folder: Path | None
    arguments: dict[str, Any]
    if path.is_dir():
        folder, arguments = path, {"path": str(path)}
    elif files := sorted(str(Path(file).resolve()) for file in glob.glob(str(path))):
        kinds = {_BUILDERS.get(Path(file).suffix.lower(), "") for file in files}
        if len(kinds) > 1 or "" in kinds:
            raise ValueError(f"data.source={source!r} must name files of one kind out of {', '.join(_BUILDERS)}, .txt.")
        folder, arguments = Path(files[0]).parent, {"path": kinds.pop(), "data_files": {split: files}}
    elif _HUB_ID.fullmatch(source) and path.suffix.lower() not in _BUILDERS and not _is_inside(path):
        folder, arguments = None, {"path": source}
    else:
        raise ValueError(f"data.source={source!r} does not exist: give a folder, a file or glob, or a Hub data set.")
    rows = _load(source, arguments, subset, split, stream)
    for name, feature in (rows.features or {}).items():
        if isinstance(feature, datasets.Image | datasets.Audio):
            rows = rows.cast_column(name, type(feature)(decode=False))
    columns = list(rows.column_names or next(iter(rows), {}))
    return Table(source, rows, columns, folder)


def _is_inside(path: Path) -> bool:
    """Whether it is a path into a folder that is here: then a mistyped one, no set of a Hub user of that name."""
    return len(path.parts) > 1 and Path(path.parts[0]).is_dir()


def _load(source: str, arguments: dict[str, Any], subset: str, split: str, stream: bool) -> Any:
    options: dict[str, Any] = {**arguments, "name": subset or None}
    try:
        builder = _builder(options)
        if builder == "audiofolder":
            raise ValueError(
                "it holds recordings as plain files, and of the Hub parquet and webdataset are read: download it (hf "
                f"download {source} --repo-type dataset --local-dir FOLDER) and name the folder."
            )
        if builder == "webdataset":
            options["features"] = _undecoded(datasets.load_dataset(**options, split=split, streaming=True).features)
        return datasets.load_dataset(**options, split=split, streaming=stream)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise ValueError(f"data.source={source!r} is neither a local path nor a readable Hub data set.") from error
    except datasets.data_files.EmptyDatasetError as error:
        raise ValueError(f"data.source={source!r} holds no file that is read: put the data itself there.") from error
    except (ConnectionError, TimeoutError) as error:
        raise ValueError(
            f"data.source={source!r} does not exist here, and the Hub is out of reach: check the path, or use a local "
            "copy."
        ) from error
    except (ValueError, datasets.exceptions.DatasetGenerationError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(
            f"data.source={source!r}, split {split!r}, subset {subset!r} cannot be read: {reason}"
        ) from error


def _builder(options: dict[str, Any]) -> str:
    """The name of what reads it; empty where that is of no importance."""
    if "data_files" in options:
        return str(options["path"])
    if Path(options["path"]).is_dir():
        return "webdataset" if any(Path(options["path"]).rglob("*.tar")) else ""
    return str(datasets.load_dataset_builder(**options).name)


def _undecoded(features: Any) -> Any:
    """Webdataset's own features, with recordings as the bytes that they are: `datasets` cannot even keep them as
    `Audio` without torchcodec."""
    return datasets.Features(
        {
            name: datasets.Value("large_binary") if isinstance(feature, datasets.Audio) else feature
            for name, feature in features.items()
        }
    )


def lookup(row: dict[str, Any], column: str) -> Any:
    """The value of `column`, following dots into json fields."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def texts_of(row: dict[str, Any], columns: list[str], source: str, option: str) -> list[str]:
    """All texts of the cells that are not blank, each once. Raises ValueError where a cell holds something else."""
    found: list[str] = []
    for column in columns:
        value = lookup(row, column)
        for text in value if isinstance(value, list) else [value]:
            if text is not None and not isinstance(text, str):
                raise ValueError(
                    f"Column {column!r} of {source} holds {type(text).__name__} where "
                    f"{option.removesuffix('_column')}s should be: set data.{option}."
                )
            if text and text.strip():
                found.append(text.strip())
    return list(dict.fromkeys(found))


def column_names(option: str) -> list[str]:
    """The names in an option that may list several, separated by commas."""
    return [name.strip() for name in option.split(",") if name.strip()]
