"""From the rows of a table to texts: unusable rows left out and counted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modalities.cells import class_of, identity
from modalities.tables import Table, lookup
from modalities.text.rows import Row, Rows


class Unusable(Exception):
    """A row without the texts that it should have."""

    def __init__(self, cause: str, where: str = "") -> None:
        super().__init__(cause)
        self.cause, self.where = cause, where


@dataclass(frozen=True)
class Reader:
    """Reads the cells of one raw row."""

    source: str
    text_columns: list[str]
    id_column: str
    label_column: str
    score_column: str
    declared: list[str]
    """Class names that the table declares for its numbers; empty where the cells are names themselves."""
    known: frozenset[str] | None = None
    """The classes that a label may be of; None for any."""

    def texts(self, raw: dict[str, Any]) -> list[str]:
        """One of each column. Raises Unusable for blank or undecodable ones, ValueError where a cell is no text."""
        return [self._text(raw, column) for column in self.text_columns]

    def _text(self, raw: dict[str, Any], column: str) -> str:
        value = lookup(raw, column)
        if isinstance(value, bytes):
            try:
                value = value.decode("utf-8-sig").replace("\r\n", "\n")
            except UnicodeDecodeError as error:
                what, first = raw.get("file", f"column {column!r}"), raw.get("start", 0)
                raise Unusable("invalid UTF-8", f"{what}, byte {first + error.start}") from error
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"Column {column!r} of {self.source} holds {type(value).__name__} where text should be: set "
                f"data.text_column."
            )
        if value is None or not value.strip():
            raise Unusable("empty text")
        if "\0" in value:
            raise Unusable("NUL characters")  # UTF-16, or no text at all
        return value

    def contents(self, texts: list[str]) -> int:
        """A number that rows share when their first texts are equal up to white space."""
        return identity(" ".join(texts[0].split()).encode())

    def document(self, raw: dict[str, Any], texts: list[str]) -> int:
        """A number that the rows of a document share."""
        name = lookup(raw, self.id_column) if self.id_column else None
        return self.contents(texts) if name is None else identity(str(name).encode())

    def label(self, raw: dict[str, Any]) -> str | None:
        """Name of the class. Raises Unusable for one that is not `known`."""
        value = lookup(raw, self.label_column) if self.label_column else None
        name = class_of(value, self.declared, self.label_column, self.source)
        if name is not None and self.known is not None and name not in self.known:
            raise Unusable("unknown class", repr(name))
        return name

    def score(self, raw: dict[str, Any]) -> float | None:
        """Raises Unusable where one is asked for and there is none, ValueError where the cell holds something else."""
        if not self.score_column:
            return None
        value = lookup(raw, self.score_column)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise Unusable("no score")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(
                f"Column {self.score_column!r} of {self.source} holds {type(value).__name__} where numbers should be: "
                f"set data.score_column."
            )
        return float(value)

    def row(self, raw: dict[str, Any], classes: dict[str, int]) -> Row:
        """All of it; see the parts for what they raise."""
        texts, label = self.texts(raw), self.label(raw)
        number = None if label is None else classes.get(label)
        return Row(id=row_id(texts), texts=texts, label=number, score=self.score(raw))


def row_id(texts: list[str]) -> int:
    """The same for equal texts everywhere."""
    return identity("\0".join(texts).encode())


@dataclass
class Collection:
    """The usable rows of a table, in order."""

    rows_read: int = 0
    texts: list[list[str]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    """See `Reader.contents`."""
    dropped: dict[str, list[int]] = field(default_factory=dict)
    where: dict[int, str] = field(default_factory=dict)
    """Of dropped rows, more than their number where it is known."""

    def rows(self, classes: Sequence[str], documents: "np.typing.NDArray[np.int64]") -> Rows:
        number = {name: i for i, name in enumerate(classes)}
        ids = np.array([row_id(texts) for texts in self.texts], dtype=np.int64)
        labels = [None if name is None else number.get(name) for name in self.labels]
        return Rows(ids=ids, texts=self.texts, labels=labels, scores=self.scores, documents=documents)


def collect(table: Table, reader: Reader, limit: int | None = None) -> Collection:
    """Reads a table once, up to `limit` usable rows."""
    found = Collection()
    for place, raw in enumerate(table.rows):
        if limit is not None and len(found.texts) >= limit:
            break
        found.rows_read += 1
        try:
            texts, label, score = reader.texts(raw), reader.label(raw), reader.score(raw)
        except Unusable as fault:
            found.dropped.setdefault(fault.cause, []).append(place)
            if fault.where:
                found.where[place] = f"{place}: {fault.where}"
            continue
        found.texts.append(texts)
        found.labels.append(label)
        found.scores.append(score)
        found.documents.append(reader.document(raw, texts))
        found.contents.append(reader.contents(texts))
    return found
