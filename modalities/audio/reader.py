"""From the rows of a table to recordings: repeated ones joined, unusable rows left out and counted."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from modalities.audio.decode import header
from modalities.audio.rows import Row, Rows, Source, Stored
from modalities.cell_files import InMemory, first_source
from modalities.cells import class_of, identity
from modalities.media import CorruptMedia
from modalities.tables import Table, lookup, texts_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reader:
    """Reads the cells of one raw row, without decoding the recording."""

    source: str
    folder: Path | None
    """What relative paths start from (see `Table`)."""
    audio_columns: list[str]
    text_columns: list[str]
    label_column: str
    speaker_column: str
    id_column: str
    group_column: str
    declared: dict[str, list[str]]
    """Names that the table declares for the numbers of a column."""

    def audio(self, raw: dict[str, Any]) -> bytes | str | None:
        return first_source(raw, self.audio_columns, self.folder, "audio")

    def identity(self, raw: dict[str, Any], audio: bytes | str) -> int:
        """A number of 63 bits, the same for equal files (or equal entries of the id column) everywhere."""
        if self.id_column:
            return identity(str(lookup(raw, self.id_column)).encode())
        # Relative to the table, so that a data set keeps its ids when its folder moves.
        return identity(audio if isinstance(audio, bytes) else os.path.relpath(audio, self.folder or ".").encode())

    def group(self, raw: dict[str, Any], key: int) -> int:
        """Equal for rows of one group; `key`, the row's own number, where it names none."""
        name = lookup(raw, self.group_column) if self.group_column else None
        return key if name is None or name == "" else identity(str(name).encode())

    def texts(self, raw: dict[str, Any]) -> list[str]:
        """All transcripts or descriptions that are not blank, each once."""
        return texts_of(raw, self.text_columns, self.source, "text_column")

    def label(self, raw: dict[str, Any]) -> str | None:
        """Name of the class; None for an empty cell or -1, the usual "unknown"."""
        return self._name(raw, self.label_column, "label_column")

    def speaker(self, raw: dict[str, Any]) -> str | None:
        """Name of the speaker, likewise."""
        return self._name(raw, self.speaker_column, "speaker_column")

    def _name(self, raw: dict[str, Any], column: str, option: str) -> str | None:
        value = lookup(raw, column) if column else None
        return class_of(value, self.declared.get(column, []), column, self.source, option)

    def row(self, raw: dict[str, Any], classes: dict[str, int], speakers: dict[str, int]) -> Row:
        """A row of a stream; empty audio where there is none. A speaker whom `speakers` lacks is numbered by a hash of
        the name, for that is enough to tell speakers apart; a label that `classes` lacks is left out, with a warning.
        """
        audio, label, speaker = self.audio(raw) or b"", self.label(raw), self.speaker(raw)
        if label is not None and label not in classes:
            _warn_of_labels(self.source, self.label_column)
        return Row(
            id=self.identity(raw, audio),
            audio=audio,
            texts=self.texts(raw),
            label=None if label is None else classes.get(label),
            speaker=None if speaker is None else speakers.get(speaker, identity(speaker.encode())),
            phones=None,
        )


@cache  # once in a process
def _warn_of_labels(source: str, column: str) -> None:
    log.warning(
        "%s: labels of column %r that no test row has are left out of the training stream: read more test rows "
        "(data.held_out), or let the table declare its classes (datasets.ClassLabel).",
        source,
        column,
    )


@dataclass
class Collection:
    """The usable recordings of a table, in the order of their first rows."""

    fetch: Callable[[list[int]], list[Source]]
    rows_read: int = 0
    places: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    """Equal for files of equal bytes, as far as those were read; else the id."""
    groups: list[int] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    speakers: list[str | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    dropped: dict[str, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def drop(self, row: int, cause: str) -> None:
        self.dropped.setdefault(cause, []).append(row)

    def rows(self, classes: Sequence[str], speakers: Sequence[str]) -> Rows:
        return Rows(
            audio=Stored(self.fetch, np.array(self.places, dtype=np.int64)),
            ids=np.array(self.ids, dtype=np.int64),
            texts=self.texts,
            labels=_numbered(self.labels, classes),
            speakers=_numbered(self.speakers, speakers),
            phones=[None] * len(self),
            seconds=np.array(self.seconds),
        )

    def without(self, bad: dict[int, str]) -> "Collection":
        """A collection that lacks the recordings at the positions `bad`, counted by cause."""
        rest = Collection(self.fetch, self.rows_read, dropped={cause: list(of) for cause, of in self.dropped.items()})
        keep = [i for i in range(len(self)) if i not in bad]
        for name in ("places", "ids", "contents", "groups", "texts", "labels", "speakers", "seconds"):
            values = getattr(self, name)
            setattr(rest, name, [values[i] for i in keep])
        for i, cause in bad.items():
            rest.drop(self.places[i], cause)
        return rest


def collect(
    table: Table, reader: Reader, fetch: Callable[[list[int]], list[Source]] | None = None, limit: int | None = None
) -> Collection:
    """Reads a table, with the header of every recording, once, up to `limit` recordings; without `fetch` to fetch them
    by, they stay in memory."""
    kept: dict[int, Source] = {}
    found = Collection(fetch or InMemory(kept))
    position: dict[int, int] = {}
    for place, raw in enumerate(table.rows):
        if limit is not None and len(found) >= limit:
            break
        found.rows_read += 1
        audio, texts = reader.audio(raw), reader.texts(raw)
        if audio is None:
            found.drop(place, "no audio")
            continue
        key = reader.identity(raw, audio)
        if key in position:
            known = found.texts[position[key]]
            known.extend(text for text in texts if text not in known)
            continue
        try:
            seconds = header(audio, place).seconds
        except CorruptMedia as error:
            found.drop(place, error.cause)
            continue
        position[key] = len(found)
        if fetch is None:
            kept[place] = audio
        found.places.append(place)
        found.ids.append(key)
        found.contents.append(identity(audio) if isinstance(audio, bytes) else key)
        found.groups.append(reader.group(raw, key))
        found.texts.append(texts)
        found.labels.append(reader.label(raw))
        found.speakers.append(reader.speaker(raw))
        found.seconds.append(seconds)
    return found


def _numbered(names: Iterable[str | None], of: Sequence[str]) -> list[int | None]:
    number = {name: i for i, name in enumerate(of)}
    return [None if name is None else number.get(name) for name in names]
