"""Tables of pictures with and without labels, from real files; broken ones are counted, wrong options one sentence."""

import gc
import json

import datasets
import numpy as np
import pytest

from modalities.media import decode
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from tests.image_text.conftest import private_cache as private_cache
from tests.image_text.files import picture, png, webdataset
from tests.vision.files import class_folder, unusable, unusual

# `datasets` leaves metadata.csv open; it is collected here, so that the warning falls on nobody else.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


def options(source, **changes) -> DataConfig:
    return DataConfig(source=str(source), **{"held_out": 2, **changes})


def numbers(data) -> dict[int, str | None]:
    """Number of each picture (see `picture`), and the name of its label."""
    known = {picture(i).tobytes(): i for i in range(40)}
    rows = [*data.train, *data.test]
    names = [None if row["label"] is None else data.classes[row["label"]] for row in rows]
    return {known[decode(row["image"], 0).tobytes()]: name for row, name in zip(rows, names, strict=True)}


def parquet(path, images: list[bytes], feature=None, **columns):
    cells = {"image": [{"bytes": image, "path": None} for image in images], **columns}
    features = {"image": datasets.Image()}
    features |= {name: feature or datasets.Dataset.from_dict({name: cells[name]}).features[name] for name in columns}
    datasets.Dataset.from_dict(cells, features=datasets.Features(features)).to_parquet(path)
    return path


def test_a_sub_folder_is_a_label(tmp_path):
    folder = class_folder(tmp_path / "d", 4)
    data = load(options(folder))
    assert data.classes == ["ant", "bee", "cat"] and data.name == "d"
    assert data.counts == {"rows": 12, "unique": 12, "dropped": {}, "train": 10, "test": 2}
    assert numbers(data) == {i: ["ant", "bee", "cat"][i // 4] for i in range(12)}
    assert data.train[0]["captions"] == []
    assert not set(data.train.ids) & set(data.test.ids)
    plain = load(options(folder, label_column=""))
    assert plain.classes == [] and set(plain.train.labels) == {None} and plain.fingerprint != data.fingerprint
    assert plain.train.ids.tolist() == data.train.ids.tolist()


def test_pictures_without_labels(tmp_path):
    (tmp_path / "d").mkdir()
    for i in range(5):
        (tmp_path / "d" / f"{i}.png").write_bytes(png(i))
    data = load(options(tmp_path / "d"))
    assert data.classes == [] and data.train.labels == [None] * 3 and data.counts["unique"] == 5


def test_declared_labels_and_unlabelled_rows(tmp_path):
    feature = datasets.ClassLabel(names=["night", "day"])
    path = parquet(tmp_path / "a.parquet", [png(i) for i in range(6)], feature, label=[0, 1, -1, 1, None, 0])
    data = load(options(path))
    assert data.classes == ["day", "night"]
    assert numbers(data) == {0: "night", 1: "day", 2: None, 3: "day", 4: None, 5: "night"}


def test_labels_that_are_numbers_or_names(tmp_path):
    path = parquet(tmp_path / "a.parquet", [png(i) for i in range(5)], label=[10, 9, 100, -1, 9])
    data = load(options(path))
    assert data.classes == ["9", "10", "100"]  # by value, not by letter
    assert numbers(data) == {0: "10", 1: "9", 2: "100", 3: None, 4: "9"}
    (tmp_path / "images").mkdir()
    for i in range(4):
        (tmp_path / "images" / f"{i}.png").write_bytes(png(i))
    kinds = ["cat", "", "ant", "cat"]
    (tmp_path / "a.csv").write_text("image,kind\n" + "".join(f"images/{i}.png,{kinds[i]}\n" for i in range(4)))
    lines = [{"image": f"images/{i}.png", "kind": kinds[i] or None} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tables = [load(options(tmp_path / name, label_column="kind")) for name in ("a.csv", "a.jsonl")]
    assert numbers(tables[0]) == {0: "cat", 1: None, 2: "ant", 3: "cat"} and tables[0].classes == ["ant", "cat"]
    assert tables[0].fingerprint == tables[1].fingerprint


def test_webdataset(tmp_path):
    samples = [{"png": png(i), "cls": str(i % 3).encode()} for i in range(6)]
    data = load(options(webdataset(tmp_path / "a.tar", samples), image_column="jpg,png"))
    assert data.classes == ["0", "1", "2"]
    assert numbers(data) == {i: str(i % 3) for i in range(6)}


def test_every_kind_of_picture(tmp_path):
    good, bad = unusual(), unusable()
    files = [*good.values(), *(data for _, data in bad.values())]
    path = parquet(tmp_path / "a.parquet", files)
    data = load(options(path, max_bad=0.5))
    assert data.counts["rows"] == len(files) and data.counts["unique"] == len(good)
    assert data.dropped == {cause: [len(good) + i] for i, (cause, _) in enumerate(bad.values())}
    assert {decode(row["image"], 0).mode for row in [*data.train, *data.test]} == {"RGB"}
    with pytest.raises(ValueError, match=rf"{len(bad)} of {len(files)} rows are unusable, .* 1 too many pixels"):
        load(options(path))


def test_corrupt_files_are_counted_and_too_many_stop(tmp_path):
    folder = class_folder(tmp_path / "d", 20, corrupt=range(3))
    with pytest.raises(ValueError, match=r"3 of 60 rows are unusable, more than data.max_bad=0.01 .* 3 truncated"):
        load(options(folder))
    data = load(options(folder, max_bad=0.1))
    assert data.counts["dropped"] == {"truncated or damaged": 3} and len(data.train) + len(data.test) == 57


def test_one_picture_is_on_one_side(tmp_path):
    path = parquet(tmp_path / "a.parquet", [png(i % 10) for i in range(30)], label=[i % 10 for i in range(30)])
    data = load(options(path, held_out=4))
    assert data.counts["unique"] == 10 and len(data.test) == 4
    assert not {row["image"] for row in data.train} & {row["image"] for row in data.test}
    # Broken twin: an id for every row, and a split by it.
    path = parquet(tmp_path / "b.parquet", [png(i % 10) for i in range(30)], key=list(range(30)))
    twin = load(options(path, held_out=10, id_column="key"))
    assert {row["image"] for row in twin.train} & {row["image"] for row in twin.test}


def test_streams_give_the_same_rows(tmp_path):
    class_folder(tmp_path / "d" / "train", 4)
    class_folder(tmp_path / "d" / "test", 2)  # its pictures 0 to 5 are in train too, under other paths
    whole = load(options(tmp_path / "d", test_split="test"))
    stream = load(options(tmp_path / "d", test_split="test", stream=True, held_out=6))
    assert isinstance(stream.train, datasets.IterableDataset) and stream.classes == whole.classes
    rows = list(stream.train)
    assert [(row["id"], row["label"]) for row in rows] == [(row["id"], row["label"]) for row in whole.train]
    assert [(row["id"], row["label"]) for row in stream.test] == [(row["id"], row["label"]) for row in whole.test]
    assert [decode(row["image"], 0).tobytes() for row in rows] == [picture(i).tobytes() for i in range(12)]
    # Broken twin: another order of the test rows.
    assert [row["id"] for row in stream.test][::-1] != [row["id"] for row in whole.test]


def test_a_stream_leaves_the_test_images_out(tmp_path):
    (tmp_path / "d").mkdir()
    for name, some in (("train", range(8)), ("test", range(6, 10))):
        parquet(tmp_path / "d" / f"{name}.parquet", [png(i) for i in some], label=[i % 2 for i in some])
    data = load(options(tmp_path / "d", test_split="test", stream=True, held_out=3))
    known = {picture(i).tobytes(): i for i in range(10)}
    assert [known[decode(row["image"], 0).tobytes()] for row in data.train] == [0, 1, 2, 3, 4, 5]
    assert [row["label"] for row in data.train] == [0, 1, 0, 1, 0, 1] and len(data.test) == 3


def test_wrong_options_are_one_sentence(tmp_path):
    folder = class_folder(tmp_path / "d", 2)
    (tmp_path / "empty").mkdir()
    images = [png(i) for i in range(4)]
    table = parquet(tmp_path / "a.parquet", images, weight=[0.5] * 4, boxes=[[1, 2]] * 4, label=list("abca"))
    cases = {
        r"holds no file that is read": options(tmp_path / "empty"),
        r"has no column 'kind': set data.label_column to one of 'image', 'label'": options(folder, label_column="kind"),
        r"has no column 'photo': set data.image_column": options(folder, image_column="photo"),
        r"'weight' of .* holds float where names or numbers of classes": options(table, label_column="weight"),
        r"'boxes' of .* holds list where names or numbers of classes": options(table, label_column="boxes"),
        r"'weight' holds float where images": options(table, image_column="weight"),
        r"held_out=6 leaves nothing": options(folder, held_out=6),
        r"split 'valid'.* cannot be read": options(folder, split="valid"),
        r"data.stream needs data.test_split": options(folder, stream=True),
        r"data.source is empty": options(""),
        r"does not exist": options(tmp_path / "missing.tar"),
    }
    for message, config in cases.items():
        with pytest.raises(ValueError, match=message) as caught:
            load(config)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"data.side is 0"):
        DataConfig(side=0)


def test_labels_change_the_fingerprint(tmp_path):
    images = [png(i) for i in range(6)]
    first = load(options(parquet(tmp_path / "a.parquet", images, label=list("ababab"))))
    same = load(options(parquet(tmp_path / "b.parquet", images, label=list("ababab"))))
    other = load(options(parquet(tmp_path / "c.parquet", images, label=list("ababaa"))))
    moved = load(options(tmp_path / "a.parquet", split_seed=1))
    assert first.fingerprint == same.fingerprint
    assert len({first.fingerprint, other.fingerprint, moved.fingerprint}) == 3
    assert np.array_equal(first.train.ids, other.train.ids)
