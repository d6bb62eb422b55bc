"""Decodes what training batches are made of, and gets past what cannot be decoded."""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from modalities.media import CorruptMedia

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=Mapping[str, Any])

_TOLERATED = 10  # bad rows a loader worker may meet before their share is judged


class Decoder(Generic[T]):
    """Decodes the pictures or recordings of training batches.

    A bad one (in data too large to check beforehand) gives its place to the next good row of the batch. More than the
    share `max_bad` of them is a ValueError.

    Args:
        read: A function of a source, its id and what else a call brings for each row, that raises `CorruptMedia`.
        column: Where rows have their source: "image" or "audio".
        things: What a message calls them.
    """

    def __init__(self, read: Callable[..., T], max_bad: float, column: str = "image", things: str = "images") -> None:
        self.read, self.max_bad, self.column, self.things = read, max_bad, column, things
        self.seen = 0
        self.bad: Counter[str] = Counter()

    def __call__(self, rows: Sequence[R], *more: Sequence[Any]) -> tuple[list[R], list[T]]:
        """For each place in the batch the row that fills it, and what was read of that row."""
        decoded: dict[int, T] = {}
        for place, row in enumerate(rows):
            try:
                decoded[place] = self.read(row[self.column], row["id"], *(one[place] for one in more))
            except CorruptMedia as error:
                log.warning("%s %d: %s; another row takes its place", self.column, row["id"], error.cause)
                self.bad[error.cause] += 1
        self.seen += len(rows)
        good, bad = list(decoded), sum(self.bad.values())
        if not good or bad > max(_TOLERATED, self.max_bad * self.seen):
            causes = ", ".join(f"{count} {cause}" for cause, count in self.bad.most_common())
            raise ValueError(
                f"{bad} of {self.seen} {self.things} cannot be decoded, more than data.max_bad={self.max_bad:g} "
                f"allows: {causes}; repair them or raise data.max_bad."
            )
        places = [good[bisect_left(good, i) % len(good)] for i in range(len(rows))]
        return [rows[place] for place in places], [decoded[place] for place in places]
