"""Decodes recordings that somebody else made: each ends as mono samples at one rate, or as one clear error.

Channels are averaged; other rates are resampled by torchaudio's windowed sinc. Only the stretch that is asked for is
read, so an hour-long file costs no more than its crop.
"""

import io
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torchaudio.functional import resample

from modalities.audio.rows import Sound, Source
from modalities.media import CorruptMedia

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before it is decoded."""

    frames: int
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate


def header(source: Source, row: int) -> Header:
    """Reads the header alone. Raises `CorruptMedia` for what is not a recording."""
    if isinstance(source, Sound):
        return Header(len(source.samples), source.rate, 1)
    with _open(source, row) as file:
        return Header(file.frames, file.samplerate, file.channels)


def decode(source: Source, row: int, rate: int, start: float = 0.0, seconds: float | None = None) -> Samples:
    """Mono samples at `rate`, (t,) in about [-1, 1]: of the whole recording, or of `seconds` from `start` on.

    Raises `CorruptMedia` for anything that is not a complete recording of finite samples; `row` goes into the error.
    """
    if isinstance(source, Sound):
        samples = _as_float(source.samples)[None]  # (1, t)
        first, last = _stretch(len(source.samples), source.rate, start, seconds)
        return _resampled(samples[:, first:last], source.rate, rate)
    with _open(source, row) as file:
        first, last = _stretch(file.frames, file.samplerate, start, seconds)
        try:
            file.seek(first)
            found = file.read(last - first, dtype="float32", always_2d=True).T  # (channels, t)
        except soundfile.LibsndfileError:
            raise CorruptMedia("truncated or damaged", row) from None
        if found.shape[1] < last - first:  # a WAV cut short gives what there is, an OGG nothing, neither an error
            raise CorruptMedia("truncated or damaged", row)
        its_rate = file.samplerate
    if not np.isfinite(found).all():
        raise CorruptMedia("samples that are not finite", row)
    return _resampled(found, its_rate, rate)


def _open(source: bytes | str, row: int) -> soundfile.SoundFile:
    if isinstance(source, str):
        if not os.path.isfile(source):
            raise CorruptMedia("no such file", row)
        if os.path.getsize(source) == 0:
            raise CorruptMedia("empty file", row)
    elif not source:
        raise CorruptMedia("empty file", row)
    try:
        file = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except soundfile.LibsndfileError:
        raise CorruptMedia("not a recording", row) from None
    if file.frames == 0:
        file.close()
        raise CorruptMedia("no samples", row)
    return file


def _stretch(frames: int, rate: int, start: float, seconds: float | None) -> tuple[int, int]:
    first = min(int(start * rate), frames)
    return first, frames if seconds is None else min(frames, first + int(np.ceil(seconds * rate)))


def _as_float(samples: npt.NDArray[np.int16] | npt.NDArray[np.float32]) -> Samples:
    return samples.astype(np.float32) / 32768 if samples.dtype == np.int16 else samples.astype(np.float32)


def _resampled(channels: Samples, its_rate: int, rate: int) -> Samples:
    mono = torch.from_numpy(np.ascontiguousarray(channels.mean(axis=0)))
    return (resample(mono, its_rate, rate) if its_rate != rate else mono).numpy()
