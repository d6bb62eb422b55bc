"""Sets of recordings, with transcripts, classes, speakers and phones where the source has them, split in two."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from datasets import IterableDataset


class Sound(NamedTuple):
    """A recording that is in memory: mono."""

    samples: npt.NDArray[np.int16] | npt.NDArray[np.float32]  # (t,)
    rate: int


class Phones(NamedTuple):
    """What is said when, exactly: phone i from `starts[i]` seconds to the next one's start, the last to the end."""

    starts: npt.NDArray[np.float64]  # (p,)
    names: list[str]


Source = Sound | bytes | str
"""A recording in memory, the bytes of a file, or a path; `modalities.audio.decode` reads them all."""


@dataclass(frozen=True)
class Stored(Sequence[Source]):
    """Recordings that stay where a table keeps them until they are asked for."""

    fetch: Callable[[list[int]], list[Source]]
    """Fetches recordings by their place in the table, undecoded."""
    places: npt.NDArray[np.int64]
    """Where each recording is in the table, (n,)."""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        return self.fetch([int(self.places[index])])[0]

    def select(self, indices: npt.NDArray[np.int64]) -> "Stored":
        """Those at `indices`, in that order."""
        return Stored(self.fetch, self.places[indices])


class Row(TypedDict):
    """One recording, undecoded."""

    id: int
    audio: Source
    texts: list[str]
    """Transcript or descriptions; empty where the source has none."""
    label: int | None
    speaker: int | None
    """Place in the names of the speakers, or in streams, where it is not among them, a hash of the name."""
    phones: Phones | None


@dataclass(frozen=True)
class Rows:
    """An indexable set of recordings, decoded by the collator."""

    audio: Sequence[Source]
    ids: npt.NDArray[np.int64]
    texts: list[list[str]]
    labels: list[int | None]
    speakers: list[int | None]
    phones: list[Phones | None]
    seconds: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Length of each recording, (n,). Not given, it is known of those in memory alone."""

    def __post_init__(self) -> None:
        if not len(self.seconds) and isinstance(self.audio, list) and all(isinstance(one, Sound) for one in self.audio):
            object.__setattr__(self, "seconds", np.array([len(one.samples) / one.rate for one in self.audio]))
        lists = (self.ids, self.texts, self.labels, self.speakers, self.phones)
        assert all(len(some) == len(self.audio) for some in lists) and len(self.seconds) in (0, len(self.audio))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Milliseconds of each recording, (n,): what batches of equal length are made by."""
        assert len(self.seconds) == len(self), "seconds of these recordings are not known"
        return (self.seconds * 1000).astype(np.int64)

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, index: int) -> Row:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")  # ends a plain `for row in rows` too
        return Row(
            id=int(self.ids[index]),
            audio=self.audio[index],
            texts=self.texts[index],
            label=self.labels[index],
            speaker=self.speakers[index],
            phones=self.phones[index],
        )

    def __getitems__(self, indices: list[int]) -> list[Row]:
        return [self[i] for i in indices]

    def select(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> "Rows":
        """The rows at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Rows(
            audio=self.audio.select(chosen) if isinstance(self.audio, Stored) else [self.audio[i] for i in chosen],
            ids=self.ids[chosen],
            texts=[self.texts[i] for i in chosen],
            labels=[self.labels[i] for i in chosen],
            speakers=[self.speakers[i] for i in chosen],
            phones=[self.phones[i] for i in chosen],
            seconds=self.seconds[chosen] if len(self.seconds) else self.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class AudioSet:
    """A data set, split. `train` is a `datasets.IterableDataset` of rows when streamed, `Rows` otherwise."""

    name: str
    train: "Rows | IterableDataset"
    test: Rows
    classes: list[str]
    """Names of the labels; empty without labels."""
    speakers: list[str]
    """Names of the speakers; empty where they are not known."""
    rate: int
    """Samples a second that rows are to be decoded at."""
    synthetic: bool
    """Whether the voices are a synthesiser's, which every table and card must say."""
    licence: str
    credit: str
    fingerprint: str
    """Hash of the contents and of the split: equal in every process and run that sees the same data."""
    counts: dict[str, Any]
    label_of: str = "class"
    """What a label stands for: the class of a sound, or the language of a speaker."""
    dropped: dict[str, list[int]] = field(default_factory=dict)
    """Row numbers that were left out, by cause."""


def fingerprint(train: Rows, test: Rows, names: list[str], more: bytes = b"") -> str:
    """Of ids, texts, labels, speakers and split, and of what `more` says; recordings count through their ids alone.
    Tables give the contents of all recordings that were read for it. Where a table of paths was too large for that
    (`data.check_files`), a training file that changes in its place does not change this."""
    digest = hashlib.sha256(more)
    for rows in (train, test):
        digest.update(rows.ids.tobytes())
        digest.update(json.dumps([rows.texts, rows.labels, rows.speakers]).encode() + b"/")
    digest.update(json.dumps(names).encode())
    return digest.hexdigest()[:32]
