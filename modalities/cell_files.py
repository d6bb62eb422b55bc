"""Files in the cells of a table: their bytes, or paths to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from modalities.tables import Table, lookup

Kind = Literal["image", "audio"]
_CALLED = {"image": "images", "audio": "recordings"}
S = TypeVar("S")


def source_in(value: Any, folder: Path | None, column: str, kind: Kind) -> bytes | str | None:
    """The file in a cell, as bytes or a path; None where the cell is empty. Relative paths start from `folder`, which
    a Hub data set lacks. Raises ValueError where the cell holds something else."""
    if isinstance(value, dict) and value.get("bytes") is not None:
        return bytes(value["bytes"])
    if isinstance(value, dict):
        value = value.get("path")
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError(
            f"Column {column!r} holds {type(value).__name__} where {_CALLED[kind]} or their paths should be: set "
            f"data.{kind}_column."
        )
    if folder is None:
        raise ValueError(
            f"Column {column!r} holds paths, and a Hub data set cannot name local files: set "
            f"data.{kind}_column to a column of {_CALLED[kind]}, or download the set and name its table."
        )
    return value if Path(value).is_absolute() else str(folder / value)


def first_source(row: dict[str, Any], columns: list[str], folder: Path | None, kind: Kind) -> bytes | str | None:
    """The file of the first column that has one: webdataset shards may mix endings."""
    found = (source_in(lookup(row, column), folder, column, kind) for column in columns)
    return next((source for source in found if source is not None), None)


@dataclass(frozen=True)
class Cells:
    """Fetches the files of a table that is not streamed, by place; empty bytes stand for an empty cell."""

    table: Table
    columns: list[str]
    kind: Kind

    def __call__(self, places: list[int]) -> list[Any]:
        rows = self.table.rows[places]
        return [
            first_source({name: rows[name][i] for name in rows}, self.columns, self.table.folder, self.kind) or b""
            for i in range(len(places))
        ]


@dataclass(frozen=True)
class InMemory(Generic[S]):
    """What is kept of a stream's test rows, by place."""

    sources: dict[int, S]

    def __call__(self, places: list[int]) -> list[S]:
        return [self.sources[place] for place in places]
