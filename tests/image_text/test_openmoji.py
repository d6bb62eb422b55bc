"""The default data: counts, names, categories, and what the split by drawing means."""

import numpy as np
import pytest

from modalities.image_text.config import DataConfig
from modalities.image_text.pairs import unseen_bases
from modalities.image_text.sources import load
from modalities.media import decode
from modalities.pictures import openmoji

read = openmoji._read


@pytest.fixture(scope="module")
def pairs():
    return load(DataConfig())


@pytest.fixture(scope="module")
def rows(pairs):
    return [*pairs.train, *pairs.test]


def test_counts(pairs, rows):
    unique = pairs.counts["unique"]
    assert 3650 < unique < 3665  # 3,657; other versions of FreeType may round a line otherwise
    assert pairs.counts == {"rows": 3778, "unique": unique, "dropped": {}, "train": unique - 400, "test": 400}
    assert sorted(row["id"] for row in rows) == list(range(unique))
    # A sequence that the layout cannot join is drawn as its parts or as a box, and many rows would be alike.
    assert len({np.asarray(row["image"]).tobytes() for row in rows}) == unique
    assert 1860 < len({row["base"] for row in rows}) < 1900


def test_drawings_are_whole_and_on_white(rows):
    pictures = np.stack([np.asarray(decode(row["image"], row["id"])) for row in rows])  # (n, 48, 48, 3)
    assert pictures.shape[1:] == (48, 48, 3)
    assert (pictures[:, 0, 0] == 255).mean() > 0.99  # corners
    edges = np.stack([pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]], 1)  # (n, 4, 48, 3)
    assert ((edges < 128).any((1, 2, 3))).mean() < 0.01  # nothing dark is cut off
    assert (pictures < 250).any(-1).mean((1, 2)).min() > 0.05  # nothing is blank: every emoji has ink


def test_captions(pairs, rows):
    captions = {caption: row for row in rows for caption in row["captions"]}
    assert captions["hourglass"]["captions"][0] == "hourglass"
    assert captions["police officer, dark skin tone"]["base"] == captions["police officer"]["base"]
    assert captions["police officer"]["base"] != captions["woman police officer"]["base"]
    assert captions["norway flag"]["id"] == captions["svalbard & jan mayen flag"]["id"]  # one drawing
    assert "couple with heart: woman, man, light skin tone and light skin tone" in captions
    assert all(row["captions"] and len(set(row["captions"])) == len(row["captions"]) for row in rows)
    firsts = [row["captions"][0] for row in rows]
    assert len(set(firsts)) == len(firsts)  # what evaluation asks for is never ambiguous


def test_classes(pairs, rows):
    assert len(pairs.classes) == len(pairs.class_words) == 9 and "Component" not in pairs.classes
    assert {row["label"] for row in rows} == set(range(9))
    captions = {caption for row in rows for caption in row["captions"]}
    assert not captions & {name.lower() for name in pairs.classes}  # the carp streamer is called "flags" upstream
    assert "skin tone" not in {word for words in pairs.class_words for word in words}
    assert {"animal bird", "plant flower"} <= set(pairs.class_words[pairs.classes.index("Animals & Nature")])


def test_unseen_concepts_are_a_good_part_of_the_test_set(pairs):
    unseen = unseen_bases(pairs.train, pairs.test)
    assert 120 < unseen.sum() < 220
    train = set(pairs.train.bases.tolist())
    assert [row["base"] not in train for row in pairs.test] == unseen.tolist()


def test_ids_and_split_do_not_depend_on_the_drawn_size(monkeypatch):
    monkeypatch.setattr(openmoji, "_read", lambda table: read(table[:150]))
    small, large = (load(DataConfig(held_out=50), side) for side in (16, 64))
    assert small.test.ids.tolist() == large.test.ids.tolist() and small.test.captions == large.test.captions
    assert small.fingerprint != large.fingerprint
    assert small.fingerprint == load(DataConfig(held_out=50), 16).fingerprint


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package .*: pip install -e '\.\[demo\]'"):
        openmoji.load_openmoji(16)
