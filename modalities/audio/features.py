"""Spectral features by torchaudio, of batches, on their device."""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torchaudio.transforms import MFCC, MelSpectrogram

WINDOW, HOP = 0.025, 0.010  # seconds, as speech recognition has them since the 1980s


def log_mel(audio: Tensor, rate: int, bands: int = 64, hop: float = HOP) -> Tensor:
    """Log-power mel spectrogram of (..., t) samples: (..., frames, bands), one frame each `hop` seconds."""
    return (_mel(rate, bands, hop, audio.device)(audio.float()) + 1e-6).log().transpose(-1, -2)


def mfcc(audio: Tensor, rate: int, count: int = 13, hop: float = HOP) -> Tensor:
    """Mel-frequency cepstral coefficients of (..., t) samples: (..., frames, count)."""
    return _mfcc(rate, count, hop, audio.device)(audio.float()).transpose(-1, -2)


@lru_cache
def _mel(rate: int, bands: int, hop: float, device: torch.device) -> nn.Module:
    return MelSpectrogram(rate, **_frames(rate, hop), n_mels=bands).to(device)


@lru_cache
def _mfcc(rate: int, count: int, hop: float, device: torch.device) -> nn.Module:
    return MFCC(rate, count, melkwargs={**_frames(rate, hop), "n_mels": 40}).to(device)


def _frames(rate: int, hop: float) -> dict[str, int]:
    window = int(WINDOW * rate)
    return {"n_fft": 1 << (window - 1).bit_length(), "win_length": window, "hop_length": int(hop * rate)}
