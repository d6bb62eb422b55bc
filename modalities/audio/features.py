"""Spectral features by torchaudio: of batches, on their device, every frame from its own recording alone.

Frames last 25 ms if not told otherwise. `centred` ones stand around the middle of the time from i * hop to
(i + 1) * hop, with silence beyond both ends: one for each whole hop. Others begin at i * hop and lie inside the
recording, as the frames of a convolution without padding do: at 16 kHz every second frame of 10 ms covers what one
output of wav2vec 2.0's convolutions sees. A recording that is too short has one frame.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import compute_deltas, create_dct
from torchaudio.transforms import MelSpectrogram

from objectives.precision import full_precision

WINDOW, HOP = 0.025, 0.010  # seconds, as speech recognition has them since the 1980s
FLOOR = 1e-6  # of the power before its logarithm, far below any recording's noise


@full_precision
def log_mel(
    audio: Tensor, rate: int, bands: int = 64, hop: float = HOP, *, window: float = WINDOW, centred: bool = True
) -> Tensor:
    """Logarithm of the power in mel bands of (..., t) samples: (..., frames, bands), one frame each `hop` seconds."""
    length, step = round(window * rate), round(hop * rate)
    mel = _mel(rate, bands, length, step, audio.device, audio.dtype)
    left = (length - step) // 2 if centred else 0
    count = int(frame_count(torch.tensor(audio.shape[-1]), rate, hop, window=window, centred=centred))
    # torch's window stands in the middle of the transform, which is longer: the margin moves it to the frame's start.
    margin = (mel.n_fft - length) // 2
    right = (count - 1) * step + mel.n_fft - margin - left - audio.shape[-1]
    power: Tensor = mel(F.pad(audio, (margin + left, right)))  # (..., bands, frames)
    return (power + FLOOR).log().transpose(-1, -2)


@full_precision
def mfcc(
    audio: Tensor,
    rate: int,
    count: int = 13,
    hop: float = HOP,
    *,
    window: float = WINDOW,
    bands: int = 40,
    centred: bool = True,
) -> Tensor:
    """Mel-frequency cepstral coefficients (Davis and Mermelstein 1980): the orthonormal cosine transform of `log_mel`.
    (..., t) samples -> (..., frames, count), the first of them the loudness."""
    transform = create_dct(count, bands, norm="ortho").to(audio)  # (bands, count)
    return log_mel(audio, rate, bands, hop, window=window, centred=centred) @ transform


def frame_count(
    lengths: Tensor, rate: int, hop: float = HOP, *, window: float = WINDOW, centred: bool = True
) -> Tensor:
    """How many frames recordings of that many samples have, at least 1. Same shape as `lengths`."""
    length, step = round(window * rate), round(hop * rate)
    return (lengths // step if centred else (lengths - length) // step + 1).clamp(min=1)


@full_precision
def with_deltas(frames: Tensor, count: Tensor) -> Tensor:
    """Frames (n, f, d) with their slopes and the slopes of these, over 5 frames each (Furui 1986): (n, f, 3d).

    count: (n,) frames that are real. Both ends are held, so that padding is never looked at.
    """
    places = torch.arange(frames.shape[1], device=frames.device)  # (f,)
    held = torch.minimum(places, count[:, None] - 1)[:, :, None].expand_as(frames)
    # The slopes themselves are held as well, as torchaudio does at the ends of a recording without padding.
    first = compute_deltas(frames.gather(1, held).transpose(1, 2)).transpose(1, 2).gather(1, held)  # (n, f, d)
    second = compute_deltas(first.transpose(1, 2)).transpose(1, 2)
    return torch.cat([frames, first, second], dim=2)


def clip_statistics(frames: Tensor, count: Tensor) -> Tensor:
    """Mean and deviation of the first `count` (n,) of the frames (n, f, d): (n, 2d), the classic feature of a whole
    recording."""
    real = (torch.arange(frames.shape[1], device=frames.device) < count[:, None])[:, :, None]  # (n, f, 1)
    total = count[:, None].to(frames)
    mean = (frames * real).sum(dim=1) / total
    square = ((frames - mean[:, None]) * real).square().sum(dim=1) / total
    return torch.cat([mean, square.sqrt()], dim=1)


@lru_cache
def _mel(rate: int, bands: int, length: int, step: int, device: torch.device, dtype: torch.dtype) -> MelSpectrogram:
    shape = {"n_fft": _points(rate, bands, length), "win_length": length, "hop_length": step}
    return MelSpectrogram(rate, **shape, n_mels=bands, center=False).to(device, dtype)


def _points(rate: int, bands: int, length: int) -> int:
    """Points of the Fourier transform: a power of two with bins so fine that the lowest, narrowest band has one."""
    top = 2595 * math.log10(1 + rate / 2 / 700)  # mel
    narrowest = 700 * (10 ** (2 * top / (bands + 1) / 2595) - 1)  # Hz
    points = 1 << (length - 1).bit_length()
    while rate / points >= narrowest:
        points *= 2
    return points
