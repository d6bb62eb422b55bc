"""Decoding: what is right is exact, what is broken is one clear cause."""

import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from modalities.audio.decode import decode, examine, header
from modalities.audio.rows import Sound
from modalities.media import CorruptMedia
from tests.audio.files import RATE, encoded, half, tone, wav


def cause(read, source) -> str:
    with pytest.raises(CorruptMedia, match="row 7") as found:
        read(source, 7)
    return found.value.cause


def whole(source, row):
    return decode(source, row, RATE)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF", "OGG", "MP3", "CAF", "W64", "AU"])
def test_kinds_of_files(kind, tmp_path):
    data = encoded(tone(1, 4000), kind)
    found = decode(data, 0, RATE)
    assert found.dtype == np.float32 and len(found) == header(data, 0).frames
    if kind not in ("OGG", "MP3"):  # which lose something
        np.testing.assert_allclose(found, tone(1, 4000)[:, 0], atol=2**-15)
    (tmp_path / "a").write_bytes(data)
    assert np.array_equal(decode(str(tmp_path / "a"), 0, RATE), found)
    examine(data, 0)


def test_channels_are_averaged_and_rates_resampled():
    stereo = tone(2, 8820, channels=2)
    data = encoded(stereo, rate=44100, subtype="FLOAT")
    assert header(data, 0).channels == 2 and header(data, 0).seconds == 0.2
    assert np.array_equal(decode(data, 0, 44100), stereo.mean(axis=1))
    expected = resample(torch.from_numpy(stereo.mean(axis=1)), 44100, 16000).numpy()
    np.testing.assert_allclose(decode(data, 0, 16000), expected, atol=1e-5)
    assert len(expected) == 3200
    assert np.abs(decode(data, 0, 16000) - resample(torch.from_numpy(stereo[:, 0]), 44100, 16000).numpy()).max() > 0.1
    tunes = np.sin(2 * np.pi * 440 * np.arange(44101) / 44101).astype(np.float32)[:, None]
    odd = decode(encoded(tunes, rate=44101), 0, 16000)  # no simple ratio
    inside = slice(1000, 15000)
    np.testing.assert_allclose(odd[inside], np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)[inside], atol=0.01)


def test_only_the_stretch_is_read(tmp_path):
    path = str(tmp_path / "hour.wav")
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_U8") as file:
        for _ in range(60):
            file.write(np.full(RATE * 60, 0.25, dtype=np.float32))
        assert file.frames == RATE * 3600
    tracemalloc.start()
    found = decode(path, 0, RATE, start=3599.5, seconds=1.0)
    assert len(found) == RATE // 2 and np.allclose(found, 0.25, atol=0.01)
    crop = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    examine(path, 0)
    checked = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert crop < 1e6 and checked < 20e6  # of 115 MB


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "OPUS", "MP3", "AIFF", "CAF", "W64", "RF64", "AU"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_truncated_files(kind, share, capfd):
    data = encoded(tone(3, 40_000), "OGG", subtype="OPUS") if kind == "OPUS" else encoded(tone(3, 40_000), kind)
    cut = data[: int(len(data) * share)]
    assert cause(examine, cut) == "truncated or damaged"
    assert cause(whole, cut) == "truncated or damaged"
    examine(data, 7)  # the broken twin: the whole file is none
    capfd.readouterr()  # the MP3 reader complains by itself


def test_a_program_that_wrote_to_a_pipe_knew_no_length():
    data = bytearray(wav(4))
    place = data.index(b"data") + 4
    data[4:8] = data[place : place + 4] = b"\xff\xff\xff\xff"
    assert len(decode(bytes(data), 0, RATE)) == 800
    data[place : place + 4] = (len(data)).to_bytes(4, "little")
    assert cause(whole, bytes(data)) == "truncated or damaged"


def test_flac_from_a_pipe_has_no_length():
    data = bytearray(encoded(tone(4), "FLAC"))
    data[21] &= 0xF0  # STREAMINFO ends the block of rate and channels with 36 bits for the number of samples
    data[22:26] = bytes(4)
    assert cause(header, bytes(data)) == cause(whole, bytes(data)) == "length missing from its header"


def test_faults_have_causes(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "bare.RAW").write_bytes(tone(0).tobytes())
    bad = tone(5)
    bad[17] = np.nan
    broken = {
        "no such file": str(tmp_path / "none.wav"),
        "empty file": str(tmp_path / "empty.wav"),
        "not a recording": b"<html>not found</html>",
        "no samples": encoded(tone(0, 0)),
        "samples that are not finite": encoded(bad, subtype="FLOAT"),
        "rate of 10 Hz": encoded(tone(6), rate=10),
    }
    for expected, source in broken.items():
        assert cause(whole, source) == expected
        assert cause(examine, source) == expected
    assert cause(whole, b"") == "empty file"
    assert cause(header, str(tmp_path / "bare.RAW")) == "not a recording"
    assert cause(whole, half(wav(0))[:20]) == "truncated or damaged"


def test_silence_is_refused_as_a_whole_but_not_as_a_crop():
    for silent in (encoded(np.zeros((800, 1))), Sound(np.zeros(800, dtype=np.int16), RATE)):
        assert cause(examine, silent) == "silent"
        assert not decode(silent, 0, RATE).any()
    one = np.zeros((800, 1))
    one[400] = 0.5
    examine(encoded(one), 0)


def test_sounds_in_memory():
    samples = np.array([0, 16384, -32768], dtype=np.int16)
    assert decode(Sound(samples, RATE), 0, RATE).tolist() == [0, 0.5, -1]
    assert decode(Sound(samples, RATE), 0, RATE, start=1 / RATE, seconds=1 / RATE).tolist() == [0.5]
    assert header(Sound(samples, RATE), 0).seconds == 3 / RATE
