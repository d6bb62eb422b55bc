"""Files in the cells of a table: their bytes, or paths to them."""

from pathlib import Path
from typing import Any, Literal

from modalities.tables import lookup

Kind = Literal["image", "audio"]
_CALLED = {"image": "images", "audio": "recordings"}


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
