"""Views of sounds: against slow references of single rows, exact where they claim to be, and each row by itself."""

import itertools
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchaudio.functional import phase_vocoder

from modalities.audio.augment import AugmentConfig, augment, hide
from modalities.audio.effects import hide_spans, louder, pink, read_at, real_samples, reverberate, stretch, with_noise

RATE, SAMPLES = 16_000, 3000
LENGTHS = torch.tensor([3000, 1200, 2999, 1, 700, 2048])
SEEDS = torch.arange(len(LENGTHS)) * 7919 - 20_000
PROBABILITIES = ("crop", "delay", "speed", "tempo", "pitch", "room", "noise", "gain", "polarity")
ALL = AugmentConfig(**dict.fromkeys(PROBABILITIES, 0.7), time_masks=2, band_masks=2)  # type: ignore[arg-type]


def sounds(samples: int = SAMPLES, lengths: Tensor = LENGTHS) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(len(lengths), samples, generator=draw, dtype=torch.float64)
    return noise * (torch.arange(samples) < lengths[:, None])


def tone(hertz: float, samples: int) -> Tensor:
    return (2 * math.pi * hertz * torch.arange(samples, dtype=torch.float64) / RATE).sin()[None]


def loudest_hertz(audio: Tensor) -> float:
    spectrum = torch.fft.rfft(audio * torch.hann_window(len(audio), dtype=audio.dtype), 1 << 16).abs()
    return float(spectrum.argmax()) * RATE / (1 << 16)


def test_without_probabilities_a_view_is_its_sound() -> None:
    audio = sounds()
    found, lengths = augment(audio, LENGTHS, SEEDS, AugmentConfig(), RATE)
    assert torch.equal(found, audio) and torch.equal(lengths, LENGTHS)
    spectrogram = torch.randn(6, 20, 8)
    assert torch.equal(hide(spectrogram, torch.full((6,), 20), SEEDS, AugmentConfig()), spectrogram)
    # Rows that are not chosen are left alone by what moves others, the vocoder's detour included.
    rare = AugmentConfig(**dict.fromkeys(PROBABILITIES, 1e-9))  # type: ignore[arg-type]
    found, lengths = augment(audio, LENGTHS, SEEDS, rare, RATE)
    assert torch.equal(found, audio) and torch.equal(lengths, LENGTHS)


@pytest.mark.parametrize("name", PROBABILITIES)
def test_each_option_changes_every_row_that_it_can(name: str) -> None:
    audio = sounds()
    found, lengths = augment(audio, LENGTHS, SEEDS, AugmentConfig(**{name: 1.0}), RATE)  # type: ignore[arg-type]
    long = LENGTHS > 1
    assert not any(torch.equal(a, b) for a, b in zip(found[long], audio[long], strict=True))
    assert found.isfinite().all() and lengths.min() >= 1 and lengths.max() <= SAMPLES
    assert not (found * ~real_samples(found, lengths)).any()


def test_a_row_does_not_depend_on_the_others() -> None:
    audio = sounds()
    whole, lengths = augment(audio, LENGTHS, SEEDS, ALL, RATE)
    for part in (slice(0, 2), slice(2, 6), slice(4, 5)):
        found, mine = augment(audio[part], LENGTHS[part], SEEDS[part], ALL, RATE)
        assert torch.equal(mine, lengths[part])
        assert (found - whole[part]).abs().max() < 1e-12
    other, _ = augment(audio[:2], LENGTHS[:2], SEEDS[2:4], ALL, RATE)  # the broken twin: the seeds of other rows
    assert (other - whole[:2]).abs().max() > 1e-3


def test_streams_are_other_views_and_seeds_repeat_them() -> None:
    first, second, again = (augment(sounds(), LENGTHS, SEEDS, ALL, RATE, stream)[0] for stream in (0, 1, 0))
    assert torch.equal(first, again)
    assert (first - second)[LENGTHS > 1].abs().amax(1).min() > 1e-3


def test_switching_one_option_on_does_not_move_the_others() -> None:
    audio = sounds()
    gain, _ = augment(audio, LENGTHS, SEEDS, AugmentConfig(gain=1.0), RATE)
    both, _ = augment(audio, LENGTHS, SEEDS, AugmentConfig(gain=1.0, polarity=1.0), RATE)
    assert torch.equal(both, -gain)


def test_fp32_gives_nearly_the_view_of_fp64() -> None:
    audio = sounds().float()
    cfg = replace(ALL, tempo=0.0, pitch=0.0)  # phases of bins without power are rounding, in every vocoder
    wide, lengths = augment(audio.double(), LENGTHS, SEEDS, cfg, RATE)
    found, same = augment(audio, LENGTHS, SEEDS, cfg, RATE)
    assert found.dtype == torch.float32
    assert torch.equal(lengths, same)
    assert (found - wide).abs().max() < 1e-5


def slow_reading(row: Tensor, first: int, count: int, rate: float, silence: int, out: int) -> tuple[list[float], int]:
    found, last = [0.0] * out, 1
    for place in range(out):
        at = (place - silence) * rate
        if place < silence or at > count - 1:
            continue
        k = int(at)
        # Lagrange's form of the line, then Catmull and Rom's blend of two of them.
        y = [float(row[first + min(max(k + i, 0), count - 1)]) for i in (-1, 0, 1, 2)]
        x = at - k
        slopes = ((y[2] - y[0]) / 2, (y[3] - y[1]) / 2)
        h = (2 * x**3 - 3 * x**2 + 1, x**3 - 2 * x**2 + x, -2 * x**3 + 3 * x**2, x**3 - x**2)  # Hermite's basis
        found[place] = h[0] * y[1] + h[1] * slopes[0] + h[2] * y[2] + h[3] * slopes[1]
        last = place + 1
    return found, last


def test_reading_equals_a_slow_one() -> None:
    lengths = torch.tensor([60, 41, 7])
    audio = sounds(60, lengths)
    first, taken = torch.tensor([10.0, 0.0, 6.0]), torch.tensor([30.0, 41.0, 1.0])
    rate, silence = torch.tensor([1.3, 0.7, 1.0]), torch.tensor([0.0, 5.2, 3.0])
    found, new = read_at(audio, lengths, first, taken, rate, silence, 50)
    for i in range(3):
        count = int(min(taken[i], lengths[i] - first[i]))
        row, last = slow_reading(audio[i], int(first[i]), count, float(rate[i].double()), round(float(silence[i])), 50)
        assert (found[i] - torch.tensor(row, dtype=torch.float64)).abs().max() < 1e-12
        assert int(new[i]) == last
    linear = read_at(audio, lengths, first, taken, rate + 0.01, silence, 50)[0]  # the broken twin: another rate
    assert (linear - found).abs().max() > 1e-3


def test_speed_moves_pitch_and_length() -> None:
    length = torch.tensor([8000])
    found, new = read_at(tone(440, 8000), length, torch.zeros(1), length, torch.tensor([1.25]), torch.zeros(1), 8000)
    assert int(new) == 6400
    assert abs(loudest_hertz(found[0, :6400]) - 550) < 1


def test_stretching_equals_torchaudio_row_by_row() -> None:
    lengths, rates = torch.tensor([4000, 4000, 4000]), torch.tensor([0.8, 1.0, 1.3], dtype=torch.float64)
    audio, out = sounds(4000, lengths), 5120
    found, new = stretch(audio, lengths, rates, out)
    window = torch.hann_window(512, dtype=torch.float64)
    advance = torch.linspace(0, math.pi * 128, 257, dtype=torch.float64)[:, None]
    for i, rate in enumerate(rates):
        spectrum = torch.stft(audio[i], 512, 128, window=window, pad_mode="constant", return_complex=True)
        slow = torch.istft(phase_vocoder(spectrum, float(rate), advance), 512, 128, window=window)
        shared = min(math.ceil(4000 / float(rate)), len(slow)) - 512  # after the end, one goes on with silence
        assert int(new[i]) == math.ceil(4000 / float(rate))
        assert (found[i, :shared] - slow[:shared]).abs().max() < 1e-9
    assert (stretch(audio, lengths, rates + 0.05, out)[0] - found).abs().max() > 1e-2  # the broken twin


def test_pitch_keeps_the_length_and_tempo_the_pitch() -> None:
    audio, length = tone(440, 8000), torch.tensor([8000])
    seed = torch.tensor([5])
    slow, new = stretch(audio, length, torch.tensor([0.8], dtype=torch.float64), 10_000)
    assert int(new) == 10_000 and abs(loudest_hertz(slow[0, :9000]) - 440) < 2
    high, same = augment(audio, length, seed, AugmentConfig(pitch=1.0), RATE)
    assert abs(int(same) - 8000) <= 2
    factor = loudest_hertz(high[0, :7500]) / 440
    assert factor != pytest.approx(1, abs=0.005) and 2 ** (-2 / 12) - 0.01 < factor < 2 ** (2 / 12) + 0.01


def test_the_noise_is_as_loud_as_drawn() -> None:
    audio = sounds()
    noise = torch.rand(audio.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    wanted = torch.tensor([20.0, 3.0, 0.0, -5.0, 10.0, 7.0], dtype=torch.float64)
    added = with_noise(audio, LENGTHS, noise, wanted) - audio
    for row, length, loud, decibels in zip(audio, LENGTHS, added, wanted, strict=True):
        ratio = row[:length].square().sum() / loud[:length].square().sum()
        assert abs(10 * math.log10(ratio) - decibels) < 1e-9
        assert not loud[length:].any()
    silent = torch.zeros(1, 100, dtype=torch.float64)
    assert not with_noise(silent, torch.tensor([50]), noise[:1, :100], wanted[:1]).any()


def test_gain_is_exact_and_pink_noise_falls_by_three_decibels_an_octave() -> None:
    assert torch.allclose(louder(torch.ones(2, 3), torch.tensor([20.0, -6.0]))[:, 0], torch.tensor([10.0, 0.501187]))
    white = torch.rand(64, 16_384, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5
    power = torch.fft.rfft(pink(white)).abs().square().mean(0)
    octaves = [float(power[2**k : 2 ** (k + 1)].mean()) for k in range(6, 12)]
    falls = [10 * math.log10(a / b) for a, b in itertools.pairwise(octaves)]
    assert np.allclose(falls, 3.01, atol=0.3)
    flat = torch.fft.rfft(white).abs().square().mean(0)  # the broken twin
    assert abs(10 * math.log10(float(flat[64:128].mean() / flat[2048:4096].mean()))) < 0.3


def test_a_room_equals_a_slow_convolution() -> None:
    lengths = torch.tensor([200, 90])
    audio = sounds(200, lengths)
    noise = torch.rand(2, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 0.5
    decay, wet = torch.tensor([30.0, 12.0], dtype=torch.float64), torch.tensor([0.5, 0.9], dtype=torch.float64)
    found = reverberate(audio, lengths, noise, decay, wet)
    for i, length in enumerate(lengths):
        echoes = noise[i].numpy() * 10 ** (-3 * np.arange(1, 41) / float(decay[i]))
        echoes *= math.sqrt(float(wet[i]) / (echoes**2).sum())
        slow = np.convolve(audio[i, :length].numpy(), [1.0, *echoes])[:length]
        slow *= math.sqrt(float(audio[i].square().sum()) / (slow**2).sum())
        assert np.abs(found[i, :length].numpy() - slow).max() < 1e-12
        assert not found[i, length:].any()
    assert (reverberate(audio, lengths, noise, 2 * decay, wet) - found).abs().max() > 1e-3  # the broken twin


def test_spans_hide_what_they_should() -> None:
    draw = torch.Generator().manual_seed(4)
    count = torch.tensor([50, 20, 3])
    where, share = torch.rand(3, 2, generator=draw), 0.4 * torch.rand(3, 2, generator=draw)
    found = hide_spans(torch.ones(3, 50, 4), count, where, share)
    for i in range(3):
        hidden = set()
        for w, s in zip(where[i].tolist(), share[i].tolist(), strict=True):
            width = int(s * int(count[i]))
            start = int(w * (int(count[i]) - width + 1))
            hidden |= set(range(start, start + width))
        assert max(hidden, default=0) < int(count[i])
        assert [not bool(frame.any()) for frame in found[i]] == [place in hidden for place in range(50)]
    assert float((found == 0).double().mean()) > 0.05


def test_masks_lie_in_the_real_frames_and_in_bands() -> None:
    frames = torch.tensor([40, 10, 1, 0, 25, 40])
    ones = torch.ones(6, 40, 16)
    time = hide(ones, frames, SEEDS, AugmentConfig(time_masks=3, max_time_mask=0.5))
    assert all(bool(row[int(real) :].all()) for row, real in zip(time, frames, strict=True)) and not time[0].all()
    bands = hide(ones, frames, SEEDS, AugmentConfig(band_masks=3, max_band_mask=0.5))
    assert torch.equal(bands[:, :1].expand_as(bands), bands) and not bands.all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("noise", 1.5), ("min_crop", 0.0), ("max_speed", 0.9), ("max_tempo", 9.0), ("max_gain", -1.0), ("max_pitch", 13.0),
     ("max_decay", 0.0), ("min_snr", 40.0), ("time_masks", -1)],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(name: str, value: float) -> None:
    assert name in {field.name for field in fields(AugmentConfig)}
    with pytest.raises(ValueError, match=f"augment.{name}"):
        AugmentConfig(**{name: value})  # type: ignore[arg-type]
