"""Random views of sounds, many at once, on whatever device the sounds are.

Every number is a hash of the row's seed, so that a view does not depend on the other rows, the process or the device,
except for rounding. With every probability 0 a view is its sound, bit for bit.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.audio.effects import hide_spans, louder, pink, read_at, reverberate, stretch, with_noise
from modalities.draws import uniform_on_device
from objectives.precision import full_precision

_VALUES, _NOISE, _ROOM, _SPANS = range(4)  # uses of a view's draws
_USES, _DRAWS = 4, 20
_OCTAVE = 12.0  # semitones


@dataclass(frozen=True)
class AugmentConfig:
    """How a view differs from its sound. Default: not at all."""

    crop: float = 0.0
    """Probability of keeping a part only."""
    min_crop: float = 0.5
    """Smallest part, as a share of the real samples."""
    delay: float = 0.0
    """Probability of a silence before the sound; what is pushed past the end is lost."""
    max_delay: float = 0.1
    """Longest silence, in seconds."""
    speed: float = 0.0
    """Probability of another speed, pitch and tempo together, as of a tape."""
    max_speed: float = 1.25
    """Largest factor of the speed, and of its inverse."""
    tempo: float = 0.0
    """Probability of another tempo at the same pitch, by a phase vocoder."""
    max_tempo: float = 1.25
    """Largest factor of the tempo, and of its inverse."""
    pitch: float = 0.0
    """Probability of another pitch at the same tempo, by a phase vocoder."""
    max_pitch: float = 2.0
    """Largest change of the pitch, in semitones either way."""
    room: float = 0.0
    """Probability of reverberation by a room that is drawn for the row."""
    max_decay: float = 0.4
    """Longest time, in seconds, in which echoes fade by 60 dB; the shortest is a tenth of it."""
    noise: float = 0.0
    """Probability of noise, half of it white, half of it pink."""
    min_snr: float = 5.0
    """Loudest noise: so many decibels softer than the sound."""
    max_snr: float = 30.0
    """Softest noise."""
    gain: float = 0.0
    """Probability of another loudness."""
    max_gain: float = 6.0
    """Largest change of the loudness, in decibels either way."""
    polarity: float = 0.0
    """Probability of turning the waveform upside down."""
    time_masks: int = 0
    """Spans of time hidden in a spectrogram."""
    max_time_mask: float = 0.2
    """Longest span, as a share of the real frames."""
    band_masks: int = 0
    """Spans of bands hidden in a spectrogram."""
    max_band_mask: float = 0.2
    """Widest span, as a share of the bands."""

    def __post_init__(self) -> None:
        for name in ("crop", "delay", "speed", "tempo", "pitch", "room", "noise", "gain", "polarity", "max_time_mask",
                     "max_band_mask"):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name} is {getattr(self, name):g}; it must lie between 0 and 1.")
        if not 0 < self.min_crop <= 1:
            raise ValueError(f"augment.min_crop is {self.min_crop:g}; it is a share above 0 and up to 1.")
        for name in ("max_speed", "max_tempo"):
            if not 1 <= getattr(self, name) <= 4:
                raise ValueError(f"augment.{name} is {getattr(self, name):g}; it is a factor between 1 and 4.")
        for name in ("max_delay", "max_pitch", "max_gain", "time_masks", "band_masks"):
            if getattr(self, name) < 0:
                raise ValueError(f"augment.{name} is {getattr(self, name):g}; it must not be negative.")
        if self.max_pitch > _OCTAVE:
            raise ValueError(f"augment.max_pitch is {self.max_pitch:g}; the most is an octave, 12.")
        if self.max_decay <= 0:
            raise ValueError(f"augment.max_decay is {self.max_decay:g}; it must be above 0 seconds.")
        if self.min_snr > self.max_snr:
            raise ValueError(f"augment.min_snr {self.min_snr:g} is above augment.max_snr {self.max_snr:g}.")


@torch.no_grad()
@full_precision
def augment(
    audio: Tensor, lengths: Tensor, seeds: Tensor, cfg: AugmentConfig, rate: int, stream: int = 0
) -> tuple[Tensor, Tensor]:
    """One view of every sound: audio of the same shape, and lengths.

    Args:
        audio: (n, t), 0 from `lengths` (n,) on.
        seeds: int64 (n,).
        cfg: what to do.
        rate: samples a second.
        stream: other streams give unrelated views.
    """
    # Every use has its columns whether or not it is switched on, so that switching one on does not move the others.
    draws = uniform_on_device(seeds, _DRAWS, _USES * stream + _VALUES).to(audio).unbind(1)
    if cfg.speed or cfg.tempo or cfg.pitch or cfg.crop or cfg.delay:
        places = tuple(draw.double() for draw in draws[:11])  # fp32 would be samples off after a minute
        audio, lengths = _moved(audio, lengths, places, cfg, rate)
    if cfg.room:
        chosen, decay, wet = draws[11] < cfg.room, cfg.max_decay * rate * (0.1 + 0.9 * draws[12]), draws[13]
        white = _white(seeds, math.ceil(cfg.max_decay * rate), _USES * stream + _ROOM).to(audio)
        audio = torch.where(chosen[:, None], reverberate(audio, lengths, white, decay, wet), audio)
    if cfg.noise:
        chosen, coloured = draws[14] < cfg.noise, draws[15] < 0.5
        decibels = cfg.min_snr + (cfg.max_snr - cfg.min_snr) * draws[16]
        white = _white(seeds, audio.shape[1], _USES * stream + _NOISE).to(audio)
        noise = torch.where(coloured[:, None], pink(white), white)
        audio = torch.where(chosen[:, None], with_noise(audio, lengths, noise, decibels), audio)
    if cfg.gain:
        decibels = cfg.max_gain * (2 * draws[18] - 1)
        audio = torch.where((draws[17] < cfg.gain)[:, None], louder(audio, decibels), audio)
    if cfg.polarity:
        audio = torch.where((draws[19] < cfg.polarity)[:, None], -audio, audio)
    return audio, lengths


@torch.no_grad()
def hide(spectrogram: Tensor, frames: Tensor, seeds: Tensor, cfg: AugmentConfig, stream: int = 0) -> Tensor:
    """SpecAugment's masks (arXiv 1904.08779) on normalised spectrograms (n, f, b), of which `frames` (n,) are real."""
    u = uniform_on_device(seeds, 2 * (cfg.time_masks + cfg.band_masks), _USES * stream + _SPANS)
    time, bands = u.split([2 * cfg.time_masks, 2 * cfg.band_masks], dim=1)
    if cfg.time_masks:
        spectrogram = hide_spans(spectrogram, frames, time[:, ::2], cfg.max_time_mask * time[:, 1::2])
    if cfg.band_masks:
        all_bands = torch.full_like(frames, spectrogram.shape[2])
        turned = spectrogram.transpose(1, 2)  # (n, b, f)
        spectrogram = hide_spans(turned, all_bands, bands[:, ::2], cfg.max_band_mask * bands[:, 1::2]).transpose(1, 2)
    return spectrogram


def _moved(
    audio: Tensor, lengths: Tensor, draws: tuple[Tensor, ...], cfg: AugmentConfig, rate: int
) -> tuple[Tensor, Tensor]:
    """Speed, tempo, pitch, crop and delay: one phase vocoder where there is need of it, and one reading."""
    speed = _factor(draws[0] < cfg.speed, draws[1], cfg.max_speed)  # (n,)
    tempo = _factor(draws[2] < cfg.tempo, draws[3], cfg.max_tempo)
    pitch = _factor(draws[4] < cfg.pitch, draws[5], 2 ** (cfg.max_pitch / _OCTAVE))
    given, slower = audio, tempo / pitch  # what the vocoder has to do, for reading at `pitch` shortens
    if cfg.tempo or cfg.pitch:
        most = (cfg.max_tempo if cfg.tempo else 1.0) * (2 ** (cfg.max_pitch / _OCTAVE) if cfg.pitch else 1.0)
        out = math.ceil(audio.shape[1] * most)
        stretched, longer = stretch(audio, lengths, slower, out)
        same = slower == 1
        given = torch.where(same[:, None], F.pad(audio, (0, out - audio.shape[1])), stretched)
        lengths = torch.where(same, lengths, longer)
    share = torch.where(draws[6] < cfg.crop, cfg.min_crop + (1 - cfg.min_crop) * draws[7], 1.0)
    taken = (share * lengths).round().clamp(min=1)
    first = (draws[8] * (lengths - taken + 1)).floor()
    silence = torch.where(draws[9] < cfg.delay, draws[10] * cfg.max_delay * rate, 0.0)
    silence = silence.clamp(max=audio.shape[1] / 2)  # or a short window might hold nothing else
    return read_at(given, lengths, first, taken, speed * pitch, silence, audio.shape[1])


def _factor(chosen: Tensor, draw: Tensor, most: float) -> Tensor:
    """Between 1 / most and most, its logarithm uniform; 1 where it was not chosen."""
    return torch.where(chosen, torch.exp(math.log(most) * (2 * draw - 1)), 1.0)


def _white(seeds: Tensor, count: int, stream: int) -> Tensor:
    """Noise (n, count), uniform in [-1, 1)."""
    return 2 * uniform_on_device(seeds, count, stream) - 1
