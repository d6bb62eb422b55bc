"""The recordings that FoxDot carries: 76 classes, equal files on one side."""

from pathlib import Path

import numpy as np
import pytest

from modalities.audio.config import DataConfig
from modalities.audio.sources import load
from tests.audio.files import encoded, tone

DESCRIPTIONS = 'DESCRIPTIONS = {"a": "Drum", "A": "Drum", "!": "Shout", "b": "Bell"}\n'


@pytest.fixture
def foxdot(tmp_path: Path, monkeypatch) -> Path:
    """A package as FoxDot lays it out: two recordings of four classes each."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "Buffers.py").write_text(DESCRIPTIONS)
    for place, folder in enumerate(["a/lower", "a/upper", "_/exclamation", "b/lower"]):
        (tmp_path / "snd" / folder).mkdir(parents=True)
        for take in range(2):
            (tmp_path / "snd" / folder / f"big_take {take}.wav").write_bytes(encoded(tone(2 * place + take)))
    monkeypatch.setattr("modalities.audio.sounds.package_folder", lambda *_: tmp_path)
    return tmp_path


def test_classes_are_folders_and_have_names_of_their_own(foxdot):
    data = load(DataConfig(source="sounds", rate=8000))
    assert data.classes == ["Shout", "Drum (A)", "Drum (a)", "Bell"] and not data.synthetic
    assert len(data.train) == len(data.test) == 4 and {row["label"] for row in data.test} == {0, 1, 2, 3}
    row = next(row for row in data.train if row["label"] == 2)
    assert row["texts"] == ["drum", "big take"] and len(row["audio"].samples) == 800


def test_a_file_without_words_has_the_description_of_its_class_alone(foxdot):
    folder = foxdot / "snd" / "b" / "lower"
    for take in range(2):
        (folder / f"big_take {take}.wav").rename(folder / f"{take}.wav")
    data = load(DataConfig(source="sounds", rate=8000))
    texts = [row["texts"] for row in [*data.train, *data.test]]
    assert texts.count(["bell"]) == 2 and not any("lower" in some or "" in some for some in texts)


def test_equal_and_silent_files(foxdot):
    first = foxdot / "snd" / "b" / "lower" / "big_take 0.wav"
    (foxdot / "snd" / "a" / "upper" / "again.wav").write_bytes(first.read_bytes())
    first.with_name("nothing.wav").write_bytes(encoded(np.zeros((800, 1))))
    for seed in range(5):
        data = load(DataConfig(source="sounds", rate=8000, split_seed=seed, held_out=0.4))
        assert data.counts["dropped"] == {"silent": 1} and len(data.train) + len(data.test) == 9
        assert not set(data.train.ids) & set(data.test.ids)


def test_all_of_it():
    data = load(DataConfig(source="sounds"))
    rows = [*data.train, *data.test]
    assert len(rows) == data.counts["rows"] == 346 and len(set(data.classes)) == 76
    held = {row["label"] for row in data.test}
    counts = np.bincount([row["label"] for row in rows])
    assert held == set(np.flatnonzero(counts >= 2)) and len(data.test) < 90
    assert all(row["texts"] and np.isfinite(row["audio"].samples).all() for row in rows)
