"""Real files of recordings for the tests: short, different from one another, and broken in known ways."""

import io
from pathlib import Path

import numpy as np
import soundfile

from modalities.audio.rows import Rows, Sound

RATE = 8000


def tone(number: int, samples: int = 800, channels: int = 1) -> np.ndarray:
    """The `number`-th recording, (samples, channels); no two are alike."""
    rng = np.random.default_rng(number)
    return (rng.uniform(-0.5, 0.5, (samples, channels)) * 0.9).round(3).astype(np.float32)


def encoded(samples: np.ndarray, kind: str = "WAV", rate: int = RATE, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def wav(number: int) -> bytes:
    return encoded(tone(number))


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def sound_folder(folder: Path, count: int, classes: int = 1, damaged: range = range(0)) -> Path:
    """count recordings, in a sub-folder for each class where there are several; those in `damaged` are cut in half."""
    for i in range(count):
        inside = folder / "abcdef"[i % classes] if classes > 1 else folder
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{i:03}.wav").write_bytes(half(wav(i)) if i in damaged else wav(i))
    return folder


def in_memory(lengths: list[int], rate: int = RATE, speaker: int | None = None) -> Rows:
    """Rows of recordings that count up from 0.001 in steps of 0.001, so that a stretch says where it is from."""
    sounds = [Sound((np.arange(1, length + 1) / 1000).astype(np.float32), rate) for length in lengths]
    none: list[None] = [None] * len(lengths)
    return Rows(
        sounds, np.arange(len(lengths)), [[] for _ in lengths], list(none), [speaker] * len(lengths), list(none)
    )
