"""Every kind of source, from real files; broken data is counted, wrong options are one sentence."""

import dataclasses
import gc
import io
import json
import pickle
import subprocess
import sys
import tarfile

import datasets
import numpy as np
import pytest
from datasets.distributed import split_dataset_by_node
from PIL import Image

from modalities.image_text.config import DataConfig
from modalities.image_text.sources import load
from modalities.media import decode
from modalities.splits import split
from tests.image_text.files import image_folder, picture, png, webdataset

# `datasets` leaves metadata.csv open; it is collected here, so that the warning falls on nobody else.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


def options(source, **changes) -> DataConfig:
    return DataConfig(source=str(source), **{"held_out": 2, **changes})


def same_pixels(row, number: int) -> bool:
    return bool((np.asarray(decode(row["image"], 0)) == np.asarray(picture(number))).all())


def by_caption(pairs) -> dict:
    rows = [*pairs.train, *pairs.test]
    return {caption: row for row in rows for caption in row["captions"]}


def test_image_folder(tmp_path):
    pairs = load(options(image_folder(tmp_path / "d", 9, captions=2), label_column="kind"))
    assert pairs.counts == {"rows": 18, "unique": 9, "dropped": {}, "train": 7, "test": 2}
    assert pairs.classes == ["bird", "cat", "dog"]
    row = by_caption(pairs)["caption 0 of 4"]
    assert row["captions"] == ["caption 0 of 4", "caption 1 of 4"] and row["label"] == 2
    assert same_pixels(row, 4) and not same_pixels(row, 3)
    assert [row["id"] for row in pairs.train.__getitems__([2, 0])] == [pairs.train[2]["id"], pairs.train[0]["id"]]
    pickle.loads(pickle.dumps(pairs.train))[0]  # loader workers get it so where processes are not forked


def test_parquet_with_lists_of_captions(tmp_path):
    cells = {
        "picture": [{"bytes": png(i), "path": None} for i in range(6)],
        "names": [[f"a {i}", f"b {i}"] for i in range(6)],
        "extra": [f"c {i}" for i in range(6)],
        "y": [i % 2 for i in range(6)],
    }
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "names": datasets.List(datasets.Value("string")),
            "extra": datasets.Value("string"),
            "y": datasets.ClassLabel(names=["even", "odd"]),
        }
    )
    table = datasets.Dataset.from_dict(cells, features=features)
    table.to_parquet(tmp_path / "a.parquet")
    pairs = load(
        options(tmp_path / "*.parquet", image_column="picture", caption_column="names, extra", label_column="y")
    )
    row = by_caption(pairs)["b 3"]
    assert row["captions"] == ["a 3", "b 3", "c 3"] and same_pixels(row, 3)
    assert row["label"] == 1 and pairs.classes == ["even", "odd"]


def test_webdataset_with_text_json_and_hostile_members(tmp_path):
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return open, (str(trap), "w")

    samples = [
        {
            "png": png(i),
            "txt": f"t {i}".encode(),
            "json": json.dumps({"deep": {"name": f"j {i}"}}).encode(),
            "pkl": pickle.dumps(Trap()),
        }
        for i in range(6)
    ]
    shard = webdataset(tmp_path / "a.tar", samples)
    with tarfile.open(shard, "a") as tar:
        link = tarfile.TarInfo("0007.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        outside = tarfile.TarInfo("../trap")
        tar.addfile(outside, io.BytesIO())
    pairs = load(options(shard, image_column="png", caption_column="txt,json.deep.name"))
    row = by_caption(pairs)["t 5"]
    assert row["captions"] == ["t 5", "j 5"] and same_pixels(row, 5)
    assert pairs.counts["unique"] == 6 and not trap.exists() and not (tmp_path.parent / "trap").exists()


def test_tables_of_paths(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(6):
        (tmp_path / "images" / f"{i}.png").write_bytes(png(i))
    (tmp_path / "a.csv").write_text("image,text\n" + "".join(f"images/{i}.png,name {i}\n" for i in range(6)))
    lines = [{"image": f"images/{i}.png", "text": [f"name {i}"]} for i in range(6)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tables = [load(options(tmp_path / name)) for name in ("a.csv", "a.jsonl")]
    assert tables[0].fingerprint == tables[1].fingerprint  # the same contents
    assert same_pixels(by_caption(tables[0])["name 4"], 4)


def test_repeated_bytes_are_one_image_and_an_id_column_wins(tmp_path):
    cells = {
        "image": [{"bytes": png(i % 4), "path": None} for i in range(8)],
        "text": [f"name {i}" for i in range(8)],
        "key": [str(i) for i in range(8)],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "key": datasets.Value("string")}
    )
    datasets.Dataset.from_dict(cells, features=features).to_parquet(tmp_path / "a.parquet")
    assert load(options(tmp_path / "a.parquet")).counts["unique"] == 4
    assert load(options(tmp_path / "a.parquet", id_column="key")).counts["unique"] == 8


def leaks(ids: np.ndarray, train: list[int], test: list[int]) -> bool:
    return bool(np.isin(ids[test], ids[train]).any())


def test_no_image_is_on_both_sides():
    ids = np.repeat(np.arange(50, dtype=np.int64) * 1_000_003, 3)
    train, test = split(ids, 10, seed=0)
    assert len(np.unique(ids[test])) == 10 and len(train) + len(test) == 150
    assert not leaks(ids, train, test)
    # Broken twin: drawing rows instead of ids.
    rows = np.random.default_rng(0).permutation(150)
    assert leaks(ids, rows[30:].tolist(), rows[:30].tolist())
    # An id keeps its side when rows come in another order, and the seed moves it.
    again = split(ids[::-1].copy(), 10, seed=0)
    assert set(ids[::-1][again[1]]) == set(ids[test])
    assert set(ids[split(ids, 10, seed=1)[1]]) != set(ids[test])


def test_corrupt_images_are_counted_and_too_many_stop(tmp_path, caplog):
    folder = image_folder(tmp_path / "d", 400, corrupt=range(100, 120))
    with pytest.raises(ValueError, match=r"20 of 400 rows are unusable, more than data.max_bad=0.01 .* 20 truncated"):
        load(options(folder))
    pairs = load(options(folder, max_bad=0.06, held_out=40))
    assert pairs.dropped == {"truncated or damaged": list(range(100, 120))}
    dropped = {"truncated or damaged": 20}
    assert pairs.counts == {"rows": 400, "unique": 380, "dropped": dropped, "train": 340, "test": 40}
    assert "left out 20 of 400" in caplog.text
    for row in [*pairs.train, *pairs.test]:
        decode(row["image"], row["id"])


def test_of_large_sets_only_test_images_are_checked(tmp_path):
    folder = image_folder(tmp_path / "d", 30, corrupt=range(10))
    pairs = load(options(folder, check_images=10, held_out=15, max_bad=0.5))
    assert pairs.counts["train"] == 15 and pairs.counts["test"] == 15 - len(pairs.dropped["truncated or damaged"]) < 15
    for row in pairs.test:
        decode(row["image"], row["id"])


def test_blank_captions_are_dropped(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(png(i))
    (folder / "metadata.csv").write_text('file_name,text\n0.png,a\n1.png,b\n2.png,"  "\n3.png,\n4.png,c\n')
    pairs = load(options(folder, max_bad=0.5, held_out=1))
    assert pairs.dropped == {"no caption": [2, 3]} and pairs.counts["unique"] == 3


def test_wrong_options_are_one_sentence(tmp_path):
    folder = image_folder(tmp_path / "d", 6)
    (tmp_path / "a.pkl").write_bytes(b"")
    cases = {
        r"no column 'title': set data.caption_column to one of 'image', 't": options(folder, caption_column="title"),
        r"has no column 'jpg': set data.image_column": options(folder, image_column="jpg"),
        r"has no column 'y': set data.label_column": options(folder, label_column="y"),
        r"'weight' of .* holds int where captions": options(folder, caption_column="weight"),
        r"'weight' holds int where images": options(folder, image_column="weight"),
        r"does not exist": options(tmp_path / "missing.parquet"),
        r"is refused": options("pipe:cat /etc/passwd"),
        r"'https://x.org/a.parquet' is refused": options("https://x.org/a.parquet"),
        r"one kind out of .parquet": options(tmp_path / "a.pkl"),
        r"neither a local path nor|out of reach": options("someone/something"),
        r"held_out=6 leaves nothing": options(folder, held_out=6),
        r"split 'valid'.* cannot be read": options(folder, split="valid"),
        r"data.stream needs data.test_split": options(folder, stream=True),
        r"neither streamed nor split": DataConfig(stream=True),
    }
    for message, config in cases.items():
        with pytest.raises(ValueError, match=message) as caught:
            load(config)
        assert "\n" not in str(caught.value)


def two_splits(tmp_path):
    """train and test folders; image 0 is in both."""
    for name, numbers in (("train", range(8)), ("test", [0, *range(20, 25)])):
        cells = {"image": [{"bytes": png(i), "path": None} for i in numbers], "text": [f"name {i}" for i in numbers]}
        features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
        (tmp_path / "both").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(cells, features=features).to_parquet(tmp_path / "both" / f"{name}.parquet")
    return tmp_path / "both"


def test_a_test_split_takes_its_images_out_of_training(tmp_path):
    pairs = load(options(two_splits(tmp_path), test_split="test"))
    assert pairs.counts == {"rows": 8, "unique": 8, "also_in_test": 1, "dropped": {}, "train": 7, "test": 6}
    assert not set(pairs.train.ids) & set(pairs.test.ids)


def test_streams_give_the_same_rows(tmp_path):
    folder = two_splits(tmp_path)
    whole = load(options(folder, test_split="test"))
    stream = load(options(folder, test_split="test", stream=True, held_out=3))
    assert isinstance(stream.train, datasets.IterableDataset)
    assert len(stream.test) == 3 and stream.test.ids.tolist() == whole.test.ids[:3].tolist()
    rows = list(stream.train)
    assert [(row["id"], row["captions"]) for row in rows] == [(row["id"], row["captions"]) for row in whole.train]
    assert same_pixels(rows[0], 1)
    lanes = [list(split_dataset_by_node(stream.train, rank, 2)) for rank in (0, 1)]
    assert sorted(row["id"] for lane in lanes for row in lane) == sorted(row["id"] for row in rows)
    assert all(lanes)
    assert stream.fingerprint == load(options(folder, test_split="test", stream=True, held_out=3)).fingerprint


def test_streams_refuse_a_missing_column_at_once(tmp_path):
    with pytest.raises(ValueError, match="has no column 'names'"):
        load(options(two_splits(tmp_path), test_split="test", stream=True, caption_column="names"))


def test_webdataset_streams(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, first in (("train", 0), ("test", 50)):
        samples = [{"jpg": png(i), "txt": f"t {i}".encode()} for i in range(first, first + 6)]
        webdataset(folder / f"{name}-000.tar", samples)
    pairs = load(options(folder, test_split="test", stream=True, image_column="jpg", caption_column="txt"))
    assert [row["captions"] for row in pairs.train] == [[f"t {i}"] for i in range(6)]


def test_fingerprints_follow_the_contents(tmp_path):
    folder = image_folder(tmp_path / "d", 6)
    config = options(folder)
    prints = {load(config).fingerprint}
    prints.add(load(dataclasses.replace(config, check_images=0)).fingerprint)  # not what the data is
    # Another process, where Python's own hashes differ.
    code = (
        "import sys; from modalities.image_text.config import DataConfig; "
        "from modalities.image_text.sources import load; "
        "print(load(DataConfig(source=sys.argv[1], held_out=2)).fingerprint)"
    )
    prints.add(
        subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            capture_output=True,
            text=True,
            check=True,
            env={"HF_DATASETS_CACHE": str(tmp_path / "other"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)},
        ).stdout.strip()
    )
    assert len(prints) == 1
    assert load(dataclasses.replace(config, split_seed=1)).fingerprint not in prints
    (folder / "metadata.csv").write_text((folder / "metadata.csv").read_text().replace("of 3", "of three"))
    assert load(config).fingerprint not in prints


def test_options_are_plain_json():
    assert DataConfig(**json.loads(json.dumps(dataclasses.asdict(DataConfig())))) == DataConfig()


def test_pictures_in_memory_are_not_touched():
    assert isinstance(decode(picture(0), 0), Image.Image)
