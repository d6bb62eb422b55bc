"""Decodes recordings that somebody else made: each ends as mono samples at one rate, or as one clear error.

What becomes of unusual files:

- Channels are averaged. Other rates are resampled by torchaudio's windowed sinc; a rate that has no simple ratio to the
  one that is wanted (44,101 Hz) counts as the nearest that has. Rates outside `RATES` are refused.
- WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF and what else libsndfile reads. What is cut short is refused, by
  comparing with its header and, of OGG, by its last page: readers raise nothing, and give what there is.
- Only the stretch that is asked for is read, so an hour costs no more than its crop. `examine` reads all of it, by
  pieces.
- FLAC that was written to a pipe does not say how long it is, and is refused: encode it to a file.
- No samples, samples that are not finite, and silence from end to end are refused, the last only by `examine`: a crop
  of a good recording may be silent.
"""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torchaudio.transforms import Resample

from modalities.audio.rows import Sound, Source
from modalities.media import CorruptMedia

Samples = npt.NDArray[np.float32]

RATES = (1_000, 400_000)  # samples a second that a recording can have
_PIECE = 1 << 20  # frames that are read at once
_SIMPLE = 1000  # largest denominator of a ratio of rates, which bounds the resampler's memory
_BEGINNINGS = (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b"caff", b".snd", b"riff",
               b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")  # fmt: skip
# What libsndfile's log says of sizes: of WAV, AIFF, W64, RF64 and AU.
_CUT = re.compile(r"^\s*(?:data|SSND|riff|Riff size|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes, of an Ogg stream
_UNKNOWN = 0xFFFF0000  # what programs that write to a pipe say of the length, or more
_ENDLESS = 1 << 62  # frames that libsndfile reports, or more, where a FLAC header leaves them open


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
    """Reads the header alone. Raises `CorruptMedia` for what is not a recording, or shorter than its header says."""
    if isinstance(source, Sound):
        return Header(len(source.samples), source.rate, 1)
    with _opened(source, row) as file:
        return Header(file.frames, file.samplerate, file.channels)


def decode(source: Source, row: int, rate: int, start: float = 0.0, seconds: float | None = None) -> Samples:
    """Mono samples at `rate`, (t,) in about [-1, 1]: of the whole recording, or of `seconds` from `start` on.

    Raises `CorruptMedia` for anything that is not a complete recording of finite samples; `row` goes into the error.
    """
    if isinstance(source, Sound):
        first, last = _stretch(len(source.samples), source.rate, start, seconds)
        return resampled(_as_float(source.samples[first:last]), source.rate, rate)
    with _opened(source, row) as file:
        first, last = _stretch(file.frames, file.samplerate, start, seconds)
        file.seek(first)
        mono = [piece.mean(axis=1) for piece in _pieces(file, last - first, row)]  # (frames,) each
        return resampled(np.concatenate(mono) if mono else np.zeros(0, np.float32), file.samplerate, rate)


def examine(source: Source, row: int) -> Header:
    """Reads a recording to its end, never more than a piece at once, and returns its header.

    Raises `CorruptMedia` as `decode` does, and for silence from end to end.
    """
    found, silent = header(source, row), True
    if isinstance(source, Sound):
        silent = not source.samples.any()
    else:
        with _opened(source, row) as file:
            for piece in _pieces(file, file.frames, row):
                silent = silent and not piece.any()
    if silent:
        raise CorruptMedia("silent", row)
    return found


def resampled(mono: Samples, its_rate: int, rate: int) -> Samples:
    """Samples (t,) at `its_rate` as they are at `rate`: (about t * rate / its_rate,)."""
    ratio = Fraction(its_rate, rate).limit_denominator(_SIMPLE)
    if ratio == 1 or not len(mono):
        return mono
    found: Samples = _resampler(ratio.numerator, ratio.denominator)(
        torch.from_numpy(np.ascontiguousarray(mono))
    ).numpy()
    return found


@lru_cache(maxsize=16)
def _resampler(its_rate: int, rate: int) -> Resample:
    return Resample(its_rate, rate)  # keeps the filter, which takes longer to compute than to use


@contextmanager
def _opened(source: bytes | str, row: int) -> Iterator[soundfile.SoundFile]:
    """An open file whose header can be believed."""
    beginning = _beginning(source, row)
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            if any(int(said) > int(there) and int(said) < _UNKNOWN for said, there in _CUT.findall(file.extra_info)):
                raise CorruptMedia("truncated or damaged", row)
            if beginning == b"OggS" and not _has_last_page(source):
                raise CorruptMedia("truncated or damaged", row)
            if file.frames >= _ENDLESS:
                raise CorruptMedia("length missing from its header", row)
            if file.frames == 0:
                raise CorruptMedia("no samples", row)
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise CorruptMedia(f"rate of {file.samplerate} Hz", row)
            yield file
    except soundfile.LibsndfileError:
        known = beginning.startswith(_BEGINNINGS)
        raise CorruptMedia("truncated or damaged" if known else "not a recording", row) from None


def _beginning(source: bytes | str, row: int) -> bytes:
    if isinstance(source, bytes):
        beginning = source[:4]
    elif not os.path.isfile(source):
        raise CorruptMedia("no such file", row)
    else:
        with open(source, "rb") as file:
            beginning = file.read(4)
    if not beginning:
        raise CorruptMedia("empty file", row)
    if isinstance(source, str) and source.lower().endswith(".raw"):  # which soundfile takes for samples without header
        raise CorruptMedia("not a recording", row)
    return beginning


def _has_last_page(source: bytes | str) -> bool:
    """Whether an Ogg stream (RFC 3533) ends as it should; libsndfile takes any whole page for the last."""
    if isinstance(source, str):
        with open(source, "rb") as file:
            file.seek(max(0, os.path.getsize(source) - _LONGEST_PAGE))
            source = file.read()
    page = source[max(0, source.rfind(b"OggS")) :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = len(page) > 26 and len(page) >= 27 + page[26] + sum(segments)
    return whole and bool(page[5] & 4)  # the flag "end of stream"


def _pieces(file: soundfile.SoundFile, count: int, row: int) -> Iterator[Samples]:
    """The next `count` frames, (<= _PIECE, channels) each: a header may promise more than any memory holds."""
    while count:
        found: Samples = file.read(min(count, _PIECE), dtype="float32", always_2d=True)
        if len(found) < min(count, _PIECE):
            raise CorruptMedia("truncated or damaged", row)
        if not np.isfinite(found).all():
            raise CorruptMedia("samples that are not finite", row)
        count -= len(found)
        yield found


def _stretch(frames: int, rate: int, start: float, seconds: float | None) -> tuple[int, int]:
    first = min(int(start * rate), frames)
    return first, frames if seconds is None else min(frames, first + int(np.ceil(seconds * rate)))


def _as_float(samples: npt.NDArray[np.int16] | npt.NDArray[np.float32]) -> Samples:
    return samples.astype(np.float32) / 32768 if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)
