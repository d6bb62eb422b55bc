"""Finds the recordings that cannot be used before training starts, and those that are there twice."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from modalities.audio.decode import examine
from modalities.audio.reader import Collection
from modalities.audio.rows import Sound
from modalities.cells import identity
from modalities.media import CorruptMedia


def examined(found: Collection, positions: Sequence[int]) -> Collection:
    """`found` without those of the recordings at `positions` that cannot be read to the end, counted by cause; of the
    others it knows the contents."""

    def look(i: int) -> tuple[int, int, str | None]:
        place = found.places[i]
        source = found.fetch([place])[0]
        assert not isinstance(source, Sound)
        try:
            examine(source, place)
        except CorruptMedia as error:
            return i, 0, error.cause
        return i, identity(source if isinstance(source, bytes) else Path(source).read_bytes()), None

    bad: dict[int, str] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # libsndfile decodes outside the interpreter's lock
        results = pool.map(look, positions)
        for i, content, cause in tqdm(results, "checking audio", total=len(positions), disable=None, leave=False):
            found.contents[i] = content
            if cause is not None:
                bad[i] = cause
    return found.without(bad)
