"""Finds the pictures that cannot be decoded before training starts, and refuses data with too many of them."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm.auto import tqdm

from modalities.media import CorruptMedia, decode
from modalities.pictures.reader import Collection

log = logging.getLogger(__name__)


def bad_images(found: Collection, positions: Sequence[int]) -> dict[int, str]:
    """Decodes the images at `positions` and returns the causes of those that fail, by position."""

    def cause(i: int) -> tuple[int, str | None]:
        place = found.places[i]
        try:
            decode(found.images([place])[0], place)
        except CorruptMedia as error:
            return i, error.cause
        return i, None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the interpreter's lock
        results = pool.map(cause, positions)
        bar = tqdm(results, "checking images", total=len(positions), disable=None, leave=False)
        return {i: why for i, why in bar if why is not None}


def refuse_if_bad(found: Collection, max_bad: float, source: str) -> None:
    """Logs what was dropped; raises ValueError when that is more than the share `max_bad` of the rows read."""
    bad = sum(map(len, found.dropped.values()))
    if not bad:
        return
    causes = ", ".join(
        f"{len(rows)} {cause} (row {', '.join(map(str, rows[:3]))}{' ...' if len(rows) > 3 else ''})"
        for cause, rows in sorted(found.dropped.items())
    )
    if bad > max_bad * found.rows_read:
        raise ValueError(
            f"{source}: {bad} of {found.rows_read} rows are unusable, more than data.max_bad={max_bad:g} "
            f"allows: {causes}; repair them or raise data.max_bad."
        )
    log.warning("%s: left out %d of %d rows: %s", source, bad, found.rows_read, causes)
