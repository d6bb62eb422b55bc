"""Log-mel filter banks in Kaldi's manner, of batches, on their device: what `ASTFeatureExtractor` makes one by one."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.compliance.kaldi import get_mel_banks

from objectives.precision import full_precision

RATE, WINDOW, HOP = 16_000, 400, 160  # samples: in a second, in a frame, and from one frame to the next
_POINTS, _LOWEST, _PRE_EMPHASIS = 512, 20.0, 0.97
_FLOOR = torch.finfo(torch.float32).eps
_MEAN, _DEVIATION = -4.2677393, 4.5689974  # of AudioSet's log-mels; defaults of the extractor, which halves once more


def frames_of(samples: Tensor) -> Tensor:
    """Whole frames in so many samples: the same shape, int64."""
    return (torch.div(samples - WINDOW, HOP, rounding_mode="floor") + 1).clamp(min=0)


def samples_of(frames: int) -> int:
    """The fewest samples with so many frames."""
    return WINDOW + (frames - 1) * HOP


@torch.no_grad()
@full_precision
def filter_bank(audio: Tensor, lengths: Tensor, bands: int) -> Tensor:
    """Normalised log-mels of audio (n, t), of which `lengths` (n,) samples are real: (n, f, bands), one frame for each
    whole one in t. Frames that are not wholly real are as the extractor pads: 0 *before* it normalises."""
    frames = audio.unfold(-1, WINDOW, HOP)  # (n, f, window)
    frames = frames - frames.mean(-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    hann = torch.hann_window(WINDOW, periodic=False, dtype=audio.dtype, device=audio.device)
    spectrum = torch.fft.rfft((frames - _PRE_EMPHASIS * before) * hann, _POINTS)  # (n, f, 257)
    power = spectrum.real.square() + spectrum.imag.square()
    logs = (power @ _weights(bands, audio.device, audio.dtype)).clamp(min=_FLOOR).log()
    real = torch.arange(logs.shape[1], device=audio.device) < frames_of(lengths)[:, None]  # (n, f)
    return (logs * real[:, :, None] - _MEAN) / (2 * _DEVIATION)


@lru_cache
def _weights(bands: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    weights, _ = get_mel_banks(bands, _POINTS, float(RATE), _LOWEST, 0.0, 0.0, 0.0, 1.0)  # (bands, 256)
    return F.pad(weights, (0, 1)).T.to(device, dtype)  # (257, bands)
