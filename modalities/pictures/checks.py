"""Finds the pictures that cannot be decoded before training starts."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm.auto import tqdm

from modalities.media import CorruptMedia, decode
from modalities.pictures.reader import Collection


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
