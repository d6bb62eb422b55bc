"""Which phone a frame belongs to, from the exact times of synthetic speech."""

import numpy as np

from modalities.audio.rows import Phones


def frame_labels(phones: Phones, hop: float, frames: int, offset: float = 0.0) -> list[str]:
    """The phone at the centre of each of `frames` frames: frame i stands for the time from offset + i * hop to
    offset + (i + 1) * hop seconds of the recording. Before the first phone it is a pause, "_"."""
    centres = offset + (np.arange(frames) + 0.5) * hop  # (frames,)
    places = np.searchsorted(phones.starts, centres, side="right") - 1
    return ["_" if place < 0 else phones.names[place] for place in places]
