"""Sets of texts: documents, or tuples of texts that belong together, with labels or scores where there are some."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from modalities.cells import identity

if TYPE_CHECKING:
    from datasets import IterableDataset


class Row(TypedDict):
    """A document (one text), or texts that belong together: two translations, a function and what it does."""

    id: int
    texts: list[str]
    label: int | None
    score: float | None


@dataclass(frozen=True)
class Rows:
    """An indexable set of texts."""

    ids: npt.NDArray[np.int64]
    texts: list[list[str]]
    """Of each row, in the order of `TextSet.roles`."""
    labels: list[int | None]
    scores: list[float | None]
    documents: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """What must stay on one side of a split, (n,): the document of a passage, the chapter of a verse, the module of a
    function. Not given, each row is its own."""

    def __post_init__(self) -> None:
        if not len(self.documents):
            object.__setattr__(self, "documents", self.ids)
        assert len(self.ids) == len(self.texts) == len(self.labels) == len(self.scores) == len(self.documents)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> Row:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Row]:
        if any(not -len(self) <= i < len(self) for i in indices):
            raise IndexError(f"row {indices} of {len(self)}")  # ends a plain `for row in rows` too
        return [
            Row(id=int(self.ids[i]), texts=self.texts[i], label=self.labels[i], score=self.scores[i]) for i in indices
        ]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Characters of each row's longest text, (n,): what batches of equal length are made by."""
        return np.array([max(map(len, texts)) for texts in self.texts], dtype=np.int64)

    def select(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> "Rows":
        """The rows at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Rows(
            ids=self.ids[chosen],
            texts=[self.texts[i] for i in chosen],
            labels=[self.labels[i] for i in chosen],
            scores=[self.scores[i] for i in chosen],
            documents=self.documents[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class TextSet:
    """A data set, split by document. `train` is a `datasets.IterableDataset` of rows when streamed, else `Rows`."""

    name: str
    train: "Rows | IterableDataset"
    test: Rows
    roles: list[str]
    """What each text of a row is: ["text"] of documents, ["code", "docstring"] of functions."""
    classes: list[str]
    """Names of the labels; empty without labels."""
    licence: str
    credit: str
    fingerprint: str
    """Hash of the contents and of the split: equal in every process and run that sees the same data."""
    counts: dict[str, Any]
    """Rows read, rows dropped by cause, rows in train and test (of a stream, what is known)."""
    dropped: dict[str, list[int]] = field(default_factory=dict)
    """Row numbers that were left out, by cause."""


def documents(texts: Sequence[str], labels: Sequence[int | None] | None = None) -> Rows:
    """Rows of one text each, numbered from 0; equal texts are one document."""
    none: list[None] = [None] * len(texts)
    return Rows(
        ids=np.arange(len(texts), dtype=np.int64),
        texts=[[text] for text in texts],
        labels=list(none if labels is None else labels),
        scores=list(none),
        documents=np.array([identity(text.encode()) for text in texts], dtype=np.int64),
    )


def joined_rows(parts: Sequence[Rows]) -> Rows:
    """All rows, one part after the other, numbered from 0. Their labels mean different things, so they have none."""
    texts = [row for rows in parts for row in rows.texts]
    return Rows(
        ids=np.arange(len(texts), dtype=np.int64),
        texts=texts,
        labels=[None] * len(texts),
        scores=[score for rows in parts for score in rows.scores],
        documents=np.concatenate([rows.documents for rows in parts]),
    )


def fingerprint(train: Rows, test: Rows, classes: Sequence[str], extra: bytes = b"") -> str:
    """Of texts, labels, scores and split."""
    digest = hashlib.sha256(extra)
    for rows in (train, test):
        digest.update(rows.ids.tobytes())
        for row in zip(rows.texts, rows.labels, rows.scores, strict=True):
            digest.update(json.dumps(row).encode())
        digest.update(b"/")
    digest.update(json.dumps(list(classes)).encode())
    return digest.hexdigest()[:32]
