"""What every table of data shares: what a cell names, which classes there are, and when too many rows are unusable."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

log = logging.getLogger(__name__)


def identity(content: bytes) -> int:
    """A number of 63 bits, the same for equal contents everywhere."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") >> 1


def class_of(value: Any, declared: Sequence[str], column: str, source: str, option: str = "label_column") -> str | None:
    """Name of the class in a cell; None for an empty cell or -1, the usual "unknown". Raises ValueError for other
    types. `declared`: class names that the table declares for its numbers; empty where cells are names themselves.
    `option`: which chose the column, for the message."""
    if value is not None and not isinstance(value, str | int):
        raise ValueError(
            f"Column {column!r} of {source} holds {type(value).__name__} where names or numbers "
            f"of classes should be: set data.{option}."
        )
    if value is None or isinstance(value, str):
        return value or None
    if value < 0 or (declared and value >= len(declared)):
        return None
    return declared[value] if declared else str(value)


def sorted_classes(labels: Iterable[str | None]) -> list[str]:
    """All labels that occur, sorted; numbers by their value."""
    names = {name for name in labels if name is not None}
    return sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def refuse_if_bad(
    dropped: Mapping[str, Sequence[int]],
    rows_read: int,
    max_bad: float,
    source: str,
    places: Mapping[int, str] | None = None,
) -> None:
    """Logs what was dropped, row numbers by cause; raises ValueError when that is more than the share `max_bad` of the
    rows read. `places`: where the trouble is, for rows of which more than the number is known."""
    bad = sum(map(len, dropped.values()))
    if not bad:
        return
    known = places or {}
    causes = ", ".join(
        f"{len(rows)} {cause} (row {', '.join(known.get(row, str(row)) for row in rows[:3])}"
        f"{' ...' if len(rows) > 3 else ''})"
        for cause, rows in sorted(dropped.items())
    )
    if bad > max_bad * rows_read:
        raise ValueError(
            f"{source}: {bad} of {rows_read} rows are unusable, more than data.max_bad={max_bad:g} "
            f"allows: {causes}; repair them or raise data.max_bad."
        )
    log.warning("%s: left out %d of %d rows: %s", source, bad, rows_read, causes)
