"""Synthetic speech: the same in every process, every text on one side, and phones where they are heard."""

import os
import subprocess
import sys
from functools import lru_cache
from zlib import crc32

import numpy as np
import pytest

from modalities.audio.alignment import frame_labels
from modalities.audio.config import DataConfig
from modalities.audio.decode import decode, resampled
from modalities.audio.espeak import Synthesizer, natural_voices
from modalities.audio.numbers import LANGUAGES
from modalities.audio.rows import AudioSet, Phones
from modalities.audio.sources import load

pytest.importorskip("espeakng_loader")
pytest.importorskip("gensim")

SMALL = {"hours": 0.02, "voices": 3}
PRINT = """
from zlib import crc32
from modalities.audio import speech
from modalities.audio.config import DataConfig
for rate in 16_000, 8_000:
    data = speech.read(DataConfig(hours=0.02, voices=3, rate=rate))
    print(data.fingerprint, *[crc32(row["audio"].samples) for row in [*data.train, *data.test]])
"""


@lru_cache
def small(source: str) -> AudioSet:
    return load(DataConfig(source=source, **SMALL))


def everything(data: AudioSet) -> list:
    return [*data.train, *data.test]


def test_another_process_hears_the_same():
    """Whatever this one has let the synthesiser say before."""
    Synthesizer().speak("Something else.", "en+f2")
    data = small("speech")
    here = [data.fingerprint, *(str(crc32(row["audio"].samples)) for row in everything(data))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True)
    same, other = (line.split() for line in run.stdout.splitlines())
    assert same == here and len(here) > 5
    assert other[0] == here[0] and not set(other[1:]) & set(here[1:])  # the broken twin: another rate of the same


def test_speech():
    data = small("speech")
    rows = everything(data)
    assert data.synthetic and len(data.speakers) == 3 and data.classes == [] and data.counts["hours"] == 0.02
    assert not {row["texts"][0] for row in data.train} & {row["texts"][0] for row in data.test}
    assert {row["speaker"] for row in data.train} == {row["speaker"] for row in data.test} == {0, 1, 2}
    for row in rows:
        seconds = len(row["audio"].samples) / row["audio"].rate
        assert row["audio"].samples.dtype == np.int16 and row["audio"].rate == 16_000 and 1.5 <= seconds <= 12.1
        assert row["phones"].starts[-1] <= seconds and (np.diff(row["phones"].starts) >= 0).all()
    assert load(DataConfig(**SMALL, split_seed=1)).fingerprint != data.fingerprint


def test_sentences_are_read_again_by_other_voices_when_they_run_out(monkeypatch):
    sentences = [
        f"This is the sentence of this story that has the number {word}." for word in ("one", "two", "three", "four")
    ]
    monkeypatch.setattr("modalities.audio.speech._sentences", lambda: sentences)
    data = load(DataConfig(hours=30 / 3600, voices=3, held_out=2))
    assert len(everything(data)) > 8 and len(set(data.train.ids)) == len(data.train)
    read = [(row["texts"][0], row["speaker"]) for row in everything(data)]
    assert len(set(read)) == len(read)
    assert not {row["texts"][0] for row in data.train} & {row["texts"][0] for row in data.test}
    with pytest.raises(ValueError, match=r"data.hours is 1; 3 voices read all sentences in 0.0 hours"):
        load(DataConfig(hours=1, voices=3))


def test_numbers_differ_by_the_language_alone():
    data = small("numbers")
    assert data.synthetic and data.classes == list(LANGUAGES.values()) and len(data.classes) == 14
    heard: dict[str, set] = {}
    for row in everything(data):
        heard.setdefault(row["texts"][0], set()).add((row["label"], row["speaker"]))
    for pairs in heard.values():  # every number in every language, always by the same voice
        assert {label for label, _ in pairs} == set(range(14)) and len({voice for _, voice in pairs}) == 1
    assert len({len(set(row["phones"].names)) for row in everything(data)}) > 1
    assert not {row["texts"][0] for row in data.train} & {row["texts"][0] for row in data.test}
    phones = {row["label"]: tuple(row["phones"].names) for row in data.train if row["texts"] == data.train[0]["texts"]}
    assert len(set(phones.values())) == 14  # nothing is spelled out in English


def test_voices_that_do_not_exist():
    assert len(set(natural_voices(24))) == 24
    with pytest.raises(ValueError, match=r"data.voices is 1000; eSpeak NG has \d+ voices"):
        natural_voices(1000)
    with pytest.raises(ValueError, match="has no voice 'xx'"):
        Synthesizer().speak("hello", "xx")


def test_a_synthesiser_without_its_data_is_one_sentence(tmp_path):
    """In another process, for without care the library ends it."""
    code = (
        "from pathlib import Path\nimport shutil, sys\nfrom modalities.audio import espeak\n"
        "where = espeak.package_folder('espeakng_loader', 'speech')\n"
        "for path in where.glob('*espeak-ng.*'):\n    shutil.copy(path, sys.argv[1])\n"
        "espeak.package_folder = lambda *_: Path(sys.argv[1])\n"
        "try:\n    espeak.Synthesizer()\nexcept ValueError as error:\n    print(error)"
    )
    nowhere = os.environ | {"OMP_NUM_THREADS": "1", "HOME": str(tmp_path), "ESPEAK_DATA_PATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=nowhere, capture_output=True, text=True)
    assert run.returncode == 0 and "data cannot be read: reinstall espeakng-loader." in run.stdout, run.stderr


def test_phones_are_where_they_are_heard():
    """An s hisses, an a does not: zero crossings by the labels of frames, and of wrong ones."""
    data, hop = small("speech"), 0.01
    rates: dict[tuple[str, bool], list[float]] = {}
    for row in everything(data):
        audio = decode(row["audio"], 0, 16_000)
        frames = audio[: len(audio) // 160 * 160].reshape(-1, 160)
        crossings = (np.diff(np.sign(frames), axis=1) != 0).mean(axis=1)
        for wrong in (False, True):
            labels = frame_labels(row["phones"], hop, len(frames), offset=0.3 * wrong)
            for phone, rate in zip(labels, crossings, strict=True):
                rates.setdefault((phone, wrong), []).append(rate)
    assert np.mean(rates["s", False]) > 4 * np.mean(rates["a", False])
    assert np.mean(rates["s", True]) < 2 * np.mean(rates["a", True])


def test_frames_take_the_phone_at_their_centre():
    phones = Phones(np.array([0.02, 0.05, 0.065]), ["a", "b", "c"])
    assert frame_labels(phones, 0.02, 5) == ["_", "a", "b", "c", "c"]
    assert frame_labels(phones, 0.02, 2, offset=0.04) == ["b", "c"]
    assert frame_labels(phones, 0.02, 2, offset=0.035) == ["a", "c"]


def test_resampling_keeps_the_pitch():
    time = np.arange(22_050) / 22_050
    found = resampled(np.sin(2 * np.pi * 440 * time).astype(np.float32), 22_050, 16_000)
    assert len(found) == 16_000 and np.abs(np.fft.rfft(found)).argmax() == 440
