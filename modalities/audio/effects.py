"""Effects on batches of sounds (n, t): the first `lengths` (n,) samples of each row are real, the rest is 0.

Each takes what was drawn for every row and gives the batch back, with new lengths where these change. Padding stays 0
and nothing is heard of it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import add_noise, fftconvolve

_POINTS, _HOP = 512, 128  # of the phase vocoder


def real_samples(audio: Tensor, lengths: Tensor) -> Tensor:
    """Which samples are not padding, (n, t) bool."""
    return torch.arange(audio.shape[1], device=audio.device) < lengths[:, None]


def read_at(
    audio: Tensor, lengths: Tensor, first: Tensor, taken: Tensor, rate: Tensor, silence: Tensor, out: int
) -> tuple[Tensor, Tensor]:
    """A stretch of every row, read at another rate, after a silence: (n, out) and the new lengths.

    Args:
        first, taken: (n,) the sample where the stretch begins, and how many it has.
        rate: (n,) 2 makes it half as long and an octave higher, as a faster tape does.
        silence: (n,) samples before it.
        out: samples of the result; what is beyond is cut.

    Between samples the value is that of a cubic through the four nearest (Catmull-Rom). Reading faster folds what lies
    above the new Nyquist frequency, as no filter is put before.
    """
    places = torch.arange(out, device=audio.device) - silence.round()[:, None]  # (n, out)
    first, count = first.double(), torch.minimum(taken, lengths - first).double()
    at = places * rate.double()[:, None]  # in samples after `first`, where fp32 would soon have no fractions left
    inside = (places >= 0) & (at <= (count - 1)[:, None])
    whole = at.floor()
    x = (at - whole).to(audio.dtype)
    ends = first[:, None], (first + count - 1)[:, None]
    a, b, c, d = (audio.gather(1, (whole + first[:, None] + k).clamp(*ends).long()) for k in (-1, 0, 1, 2))
    cubic = b + 0.5 * x * (c - a + x * (2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)))
    found = torch.where(inside, cubic, 0.0)
    # The last place that is inside; at least one sample is, unless the silence fills everything.
    return found, torch.where(inside, torch.arange(1, out + 1, device=audio.device), 1).amax(1)


def stretch(audio: Tensor, lengths: Tensor, rate: Tensor, out: int) -> tuple[Tensor, Tensor]:
    """Phase vocoder (Flanagan and Golden 1966): `rate` (n,) times faster at the same pitch; (n, out) and lengths."""
    window = torch.hann_window(_POINTS, dtype=audio.dtype, device=audio.device)
    spectrum = torch.stft(audio, _POINTS, _HOP, window=window, pad_mode="constant", return_complex=True)  # (n, b, f)
    frames = 1 + out // _HOP
    steps = torch.arange(frames, device=audio.device, dtype=audio.dtype) * rate.to(audio)[:, None]  # (n, g)
    turned = F.pad(spectrum, (0, 2))
    last = turned.shape[2] - 1
    before = steps.long().clamp(max=last - 1)[:, None].expand(-1, spectrum.shape[1], -1)  # (n, b, g)
    left, right = turned.gather(2, before), turned.gather(2, before + 1)
    part = (steps % 1.0)[:, None]
    sizes = part * right.abs() + (1 - part) * left.abs()
    expected = torch.linspace(0, math.pi * _HOP, spectrum.shape[1], dtype=audio.dtype, device=audio.device)[:, None]
    turn = right.angle() - left.angle() - expected
    turn = turn - 2 * math.pi * (turn / (2 * math.pi)).round() + expected
    phase = torch.cat([spectrum[..., :1].angle(), turn[..., :-1]], dim=2).cumsum(2)
    found = torch.istft(torch.polar(sizes, phase), _POINTS, _HOP, window=window, length=out)
    lengths = (lengths / rate).ceil().long().clamp(1, out)
    return found * real_samples(found, lengths), lengths


def reverberate(audio: Tensor, lengths: Tensor, noise: Tensor, decay: Tensor, wet: Tensor) -> Tensor:
    """Adds the echoes of a room, as loud as before: noise that fades by 60 dB in `decay` (n,) samples (Moorer 1979).

    noise: (n, k), what the echoes are made of. wet: (n,), their energy beside that of the direct sound.
    """
    time = torch.arange(1, noise.shape[1] + 1, device=audio.device, dtype=audio.dtype)
    echoes = noise * 10.0 ** (-3 * time / decay[:, None])  # (n, k)
    echoes = echoes * (wet[:, None] / echoes.square().sum(1, keepdim=True)).sqrt()
    response = torch.cat([torch.ones_like(echoes[:, :1]), echoes], dim=1)
    found = fftconvolve(audio, response)[:, : audio.shape[1]] * real_samples(audio, lengths)
    before, after = (one.square().sum(1, keepdim=True) for one in (audio, found))
    return found * (before / after.clamp(min=torch.finfo(audio.dtype).tiny)).sqrt()


def with_noise(audio: Tensor, lengths: Tensor, noise: Tensor, decibels: Tensor) -> Tensor:
    """Adds `noise` (n, t) so much softer than the sound, by the mean power over its real samples. Silence stays."""
    return add_noise(audio, noise * real_samples(audio, lengths), decibels, lengths)


def pink(white: Tensor) -> Tensor:
    """White noise (n, t) with its power made to fall by 3 dB an octave."""
    spectrum = torch.fft.rfft(white)
    fall = torch.arange(spectrum.shape[1], device=white.device, dtype=white.dtype).clamp(min=1).rsqrt()
    return torch.fft.irfft(spectrum * fall, white.shape[1])


def louder(audio: Tensor, decibels: Tensor) -> Tensor:
    """By `decibels` (n,)."""
    return audio * 10.0 ** (decibels[:, None] / 20)


def hide_spans(values: Tensor, count: Tensor, where: Tensor, share: Tensor) -> Tensor:
    """SpecAugment (Park 2019, arXiv 1904.08779): spans of (n, m, ...) set to 0.

    Args:
        values: spectrogram, time or bands in dimension 1.
        count: (n,) how many places of that are real.
        where, share: (n, k) in [0, 1): for each span, its place among all it could have, and its length as a share of
            `count`.
    """
    width = (share * count[:, None]).floor()  # (n, k)
    start = (where * (count[:, None] - width + 1)).floor()
    places = torch.arange(values.shape[1], device=values.device)[None, :, None]  # (1, m, 1)
    hidden = ((places >= start[:, None]) & (places < (start + width)[:, None])).any(2)  # (n, m)
    return values.masked_fill(hidden.reshape(*hidden.shape, *[1] * (values.ndim - 2)), 0.0)
