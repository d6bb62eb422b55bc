"""Spectral features against the formulas, frame by frame in numpy, and what padding and neighbours must not do."""

import numpy as np
import pytest
import torch

from modalities.audio.features import clip_statistics, frame_count, log_mel, mfcc, with_deltas

RATE, WINDOW, STEP, POINTS = 16_000, 400, 160, 512


def recording(samples=4000, rows=None, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(*([] if rows is None else [rows]), samples, generator=draw, dtype=torch.float64)


def slow_log_mel(audio, bands, starts):
    """One frame after the other: a Hann window, its power spectrum, triangles that are even on the mel scale."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)  # Hz
    bins = np.arange(POINTS // 2 + 1) * RATE / POINTS
    frames = []
    for start in starts:
        piece = [audio[i] if 0 <= i < len(audio) else 0.0 for i in range(start, start + WINDOW)]
        power = np.abs(np.fft.rfft(piece * hann, POINTS)) ** 2
        row = []
        for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
            weight = np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
            row.append(np.log(weight @ power + 1e-6))
        frames.append(row)
    return np.array(frames)


def slow_mfcc(mel, count):
    bands = mel.shape[1]
    columns = [np.cos(np.pi * k * (np.arange(bands) + 0.5) / bands) * np.sqrt(2 / bands) for k in range(count)]
    columns[0] /= np.sqrt(2)
    return mel @ np.array(columns).T


def slow_slopes(frames):
    """Regression over five frames, both ends held."""
    held = np.concatenate([frames[:1], frames[:1], frames, frames[-1:], frames[-1:]])
    return np.array([sum(k * (held[i + 2 + k] - held[i + 2 - k]) for k in (1, 2)) / 10 for i in range(len(frames))])


def test_is_the_formula():
    audio = recording()
    inside = [i * STEP for i in range(1 + (4000 - WINDOW) // STEP)]
    centred = [i * STEP + STEP // 2 - WINDOW // 2 for i in range(4000 // STEP)]
    for starts, option in ((inside, False), (centred, True)):
        wanted = slow_log_mel(audio.numpy(), 40, starts)
        # torchaudio makes its filters, window and cosines in fp32
        found = log_mel(audio, RATE, 40, centred=option).numpy()
        assert np.abs(found - wanted).max() < 1e-5
        assert np.abs(mfcc(audio, RATE, centred=option).numpy() - slow_mfcc(found, 13)).max() < 1e-5
    shifted = slow_log_mel(audio.numpy(), 40, [start + 1 for start in inside])  # the broken twin: one sample late
    assert np.abs(log_mel(audio, RATE, 40, centred=False).numpy() - shifted).max() > 1e-2
    lopsided = slow_mfcc(found, 14)[:, 1:]  # the broken twin: without the loudness
    assert np.abs(mfcc(audio, RATE).numpy() - lopsided).max() > 1e-2


def test_slopes_are_the_formula_and_never_look_at_padding():
    frames = torch.randn(2, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    count = torch.tensor([12, 7])
    found = with_deltas(frames, count)
    for row, real in enumerate(count.tolist()):
        own = frames[row, :real].numpy()
        wanted = np.concatenate([own, slow_slopes(own), slow_slopes(slow_slopes(own))], axis=1)
        assert np.abs(found[row, :real].numpy() - wanted).max() < 1e-12
    looked = with_deltas(frames, torch.tensor([12, 12]))  # the broken twin: padding counts as real
    assert (found[1, 5:7] - looked[1, 5:7]).abs().max() > 1e-3


def test_statistics_are_of_real_frames():
    frames = torch.randn(2, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 3
    count = torch.tensor([9, 4])
    found = clip_statistics(frames, count)
    for row, real in enumerate(count.tolist()):
        own = frames[row, :real]
        wanted = torch.cat([own.mean(0), own.std(0, correction=0)])
        assert (found[row] - wanted).abs().max() < 1e-12
    everything = clip_statistics(frames, torch.tensor([9, 9]))  # the broken twin
    assert (found[1] - everything[1]).abs().max() > 1e-3


@pytest.mark.parametrize("centred", [True, False])
def test_a_frame_depends_on_its_own_recording_alone(centred):
    audio, lengths = recording(rows=3), torch.tensor([4000, 2500, 4000])
    audio[1, 2500:] = 0
    together = mfcc(audio, RATE, centred=centred)
    loud = mfcc(audio * torch.tensor([[1.0], [1.0], [100.0]]), RATE, centred=centred)
    assert torch.equal(together[:2], loud[:2])  # decibels under the loudest of a batch would differ
    alone = mfcc(audio[1, :2500], RATE, centred=centred)
    real = int(frame_count(lengths, RATE, centred=centred)[1])
    assert len(alone) == real and (together[1, :real] - alone).abs().max() < 1e-9


@pytest.mark.parametrize("samples", [1, 159, 160, 399, 400, 401, 559, 560, 1234])
def test_counts_are_those_of_what_comes_out(samples):
    for centred in (True, False):
        for hop in (0.010, 0.020):
            found = log_mel(recording(samples, 2), RATE, hop=hop, centred=centred)
            assert found.shape == (2, int(frame_count(torch.tensor(samples), RATE, hop, centred=centred)), 64)
            assert torch.isfinite(found).all()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_every_band_hears_something_at_any_rate(rate):
    audio = torch.randn(rate, generator=torch.Generator().manual_seed(3))
    assert log_mel(audio, rate).amin() > -13.0  # the logarithm of the floor is -13.8


def test_half_precision_is_widened():
    audio = recording().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mfcc(audio, RATE), mfcc(audio, RATE).float())
        rough = mfcc(audio, RATE)
    assert torch.equal(rough, mfcc(audio, RATE))
    assert log_mel(recording(), RATE).dtype == torch.float64
