"""Every kind of source, from real files; broken data is counted, wrong options are one sentence."""

import dataclasses
import json
import pickle
from types import SimpleNamespace

import datasets
import numpy as np
import pytest

from modalities.audio.collate import WindowCollate
from modalities.audio.config import DataConfig
from modalities.audio.decode import decode
from modalities.audio.rows import Rows
from modalities.audio.sources import load
from modalities.splits import split_each
from tests.audio.files import RATE, encoded, half, sound_folder, tone, wav
from tests.image_text.files import webdataset


def options(source, **changes) -> DataConfig:
    return DataConfig(source=str(source), **{"held_out": 2, "rate": RATE, **changes})


def is_tone(row, number: int) -> bool:
    return bool(np.allclose(decode(row["audio"], 0, RATE), tone(number)[:, 0], atol=2**-15))


def everything(data) -> list:
    return [*data.train, *data.test]


def parquet(path, cells: dict, **features) -> None:
    table = datasets.Dataset.from_dict(cells).cast_column("audio", datasets.Audio(decode=False))
    for name, feature in features.items():
        table = table.cast_column(name, feature)
    table.to_parquet(path)


def test_folder_with_a_sub_folder_for_each_class(tmp_path):
    data = load(options(sound_folder(tmp_path / "d", 9, classes=3)))
    assert data.classes == ["a", "b", "c"] and data.speakers == [] and not data.synthetic
    assert data.counts["rows"] == 9 and data.counts["train"] == 7 and data.counts["test"] == 2
    rows = everything(data)
    assert all(sum(is_tone(row, number) for number in range(9)) == 1 for row in rows)
    assert all(is_tone(row, row["label"]) or not is_tone(row, 1 - row["label"]) for row in rows if row["label"] < 2)
    assert (data.train.lengths == 100).all()
    some = data.train.select([3, 1])
    assert some[0]["id"] == data.train[3]["id"] and some[0]["audio"] == data.train[3]["audio"]
    pickle.loads(pickle.dumps(data.train))[0]  # loader workers get it so where processes are not forked
    (tmp_path / "d").rename(tmp_path / "moved")
    assert load(options(tmp_path / "moved")).fingerprint == data.fingerprint


def test_folder_with_metadata_and_splits(tmp_path):
    folder = tmp_path / "d"
    for part in ("train", "test"):
        sound_folder(folder / part, 4)
    (folder / "test" / "000.wav").write_bytes(wav(7))
    for part in ("train", "test"):
        lines = [f"{i:03}.wav,word {i},s{i % 2}" for i in range(4)]
        (folder / part / "metadata.csv").write_text("\n".join(["file_name,sentence,speaker_id", *lines]))
    data = load(options(folder, test_split="test"))
    assert data.counts["also_in_test"] == 3 and len(data.train) == 1 and len(data.test) == 4
    assert data.train[0]["texts"] == ["word 0"] and data.speakers == ["s0", "s1"] and data.classes == []
    assert [row["speaker"] for row in data.test] == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="no sub-folder 'dev' with recordings"):
        load(options(folder, split="dev"))
    (folder / "train" / "metadata.csv").rename(folder / "train" / "list.csv")
    with pytest.raises(ValueError, match=r"recordings and also train/list.csv: name that file"):
        load(options(folder))


def test_metadata_of_all_splits_is_read_for_each_alone(tmp_path):
    lines = ["file_name,text"]
    for part in ("train", "test"):
        for i in range(4):
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / f"{i}.wav").write_bytes(wav(i + 4 * (part == "test")))
            lines.append(f"{part}/{i}.wav,{part} {i}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    alone = load(options(tmp_path))
    assert sorted(row["texts"][0] for row in everything(alone)) == [f"train {i}" for i in range(4)]
    both = load(options(tmp_path, test_split="test"))
    assert both.counts["also_in_test"] == 0 and [row["texts"][0] for row in both.test] == [
        f"test {i}" for i in range(4)
    ]


def test_a_class_may_be_called_train(tmp_path):
    for place, name in enumerate(["dog", "cat", "train"]):
        sound_folder(tmp_path / name, 2)
        for i in range(2):
            (tmp_path / name / f"{i:03}.wav").write_bytes(wav(2 * place + i))
    data = load(options(tmp_path))
    assert data.classes == ["cat", "dog", "train"] and data.counts["rows"] == 6
    held = load(options(tmp_path, test_split="dog"))  # who names a split says that sub-folders are splits
    assert held.counts["rows"] == 2 and len(held.test) == 2 and held.classes == []


@pytest.mark.parametrize(
    "name, text, said",
    [
        (
            "csv",
            "file_name,text\n000.wav,one, two\n",
            "row 1 has more cells than columns: put texts with commas in quote",
        ),
        ("csv", "file,text\n000.wav,one\n", "row 1 has no file_name"),
        ("jsonl", '{"file_name": "000.wav"}\n["001.wav"]\n', "row 2 is no object of names and values"),
        ("jsonl", '{"file_name": 3}\n', "row 1 has no file_name"),
        (
            "jsonl",
            '{"file_name": "000.wav", "label": 1}\n{"file_name": "001.wav", "label": "x"}\n',
            "holds values of several kinds in column 'label'",
        ),
    ],
)
def test_metadata_that_cannot_be_read_is_one_sentence(name, text, said, tmp_path):
    (sound_folder(tmp_path / "d", 4) / f"metadata.{name}").write_text(text)
    with pytest.raises(ValueError, match=rf"d/metadata.{name} .*{said}") as found:
        load(options(tmp_path / "d"))
    assert str(found.value).endswith(".") and str(found.value).count(". ") == 0


def test_rows_of_a_group_are_on_one_side(tmp_path):
    cells = {
        "audio": [{"bytes": wav(i), "path": None} for i in range(20)],
        "speaker": [f"s{i % 5}" for i in range(20)],
        "album": [None if i == 7 else i % 5 for i in range(20)],
    }
    parquet(tmp_path / "a.parquet", cells)
    for seed in range(4):
        data = load(options(tmp_path / "a.parquet", held_out=2, split_seed=seed, group_column="speaker"))
        sides = [{row["speaker"] for row in rows} for rows in (data.train, data.test)]
        assert len(data.test) == 8 and len(sides[1]) == 2 and not sides[0] & sides[1]
    assert len(load(options(tmp_path / "a.parquet", held_out=5, group_column="album")).train) in (1, 4)  # 7 is alone
    plain = load(options(tmp_path / "a.parquet", held_out=8))  # the broken twin
    assert {row["speaker"] for row in plain.train} & {row["speaker"] for row in plain.test}
    (tmp_path / "test").mkdir()
    parquet(tmp_path / "test" / "a.parquet", {name: values[:1] for name, values in cells.items()})
    (tmp_path / "train").mkdir()
    (tmp_path / "a.parquet").rename(tmp_path / "train" / "a.parquet")
    held = load(options(tmp_path, test_split="test", group_column="speaker"))
    assert held.counts["also_in_test"] == 4 and len(held.train) == 16
    with pytest.raises(ValueError, match=r"data\.group_column keeps rows together"):
        load(options(tmp_path, test_split="test", group_column="speaker", stream=True))


def test_a_recording_that_changes_changes_the_fingerprint(tmp_path):
    folder = sound_folder(tmp_path / "d", 6)
    before = load(options(folder)).fingerprint
    assert load(options(folder)).fingerprint == before
    both = [folder / "000.wav", folder / "001.wav"]
    for path, number in zip(both, (1, 0), strict=True):
        path.write_bytes(wav(number))
    assert load(options(folder)).fingerprint != before


def test_parquet_with_classes_speakers_and_transcripts(tmp_path):
    cells = {
        "audio": [{"bytes": wav(i), "path": f"{i}.wav"} for i in range(6)],
        "sentence": [f"say {i}" if i else " " for i in range(6)],
        "label": [i % 2 for i in range(6)],
        "client_id": [10, 9, 10, 9, 10, 9],
    }
    parquet(tmp_path / "a.parquet", cells, label=datasets.ClassLabel(names=["even", "odd"]))
    data = load(options(tmp_path / "*.parquet"))
    assert data.classes == ["even", "odd"] and data.speakers == ["9", "10"]
    for row in everything(data):
        number = next(i for i in range(6) if is_tone(row, i))
        assert row["texts"] == ([f"say {number}"] if number else [])
        assert row["label"] == number % 2 and row["speaker"] == 1 - number % 2
    without = load(options(tmp_path / "a.parquet", label_column="", speaker_column="", text_column=""))
    assert without.classes == without.speakers == [] and not any(row["texts"] for row in everything(without))


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_webdataset(kind, tmp_path):
    samples = [
        {kind: encoded(tone(i), kind.upper()), "txt": f"t {i}".encode(), "cls": b"%d" % (i % 2)} for i in range(6)
    ]
    data = load(options(webdataset(tmp_path / "a.tar", samples)))
    assert load(options(tmp_path)).fingerprint == data.fingerprint  # a folder of shards
    assert data.classes == ["0", "1"] and sorted(row["texts"][0] for row in everything(data)) == [
        f"t {i}" for i in range(6)
    ]
    for row in everything(data):
        number = int(row["texts"][0][2:])
        assert row["label"] == number % 2 and decode(row["audio"], 0, RATE).shape == (800,)
        assert kind in ("ogg", "mp3") or is_tone(row, number)


def test_tables_of_paths(tmp_path):
    sound_folder(tmp_path / "clips", 6)
    (tmp_path / "a.csv").write_text("audio,text\n" + "".join(f"clips/{i:03}.wav,name {i}\n" for i in range(6)))
    lines = [{"audio": f"clips/{i:03}.wav", "text": f"name {i}"} for i in range(6)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = (load(options(tmp_path / name)) for name in ("a.csv", "a.jsonl"))
    assert first.fingerprint == second.fingerprint != load(options(tmp_path / "a.csv", split_seed=1)).fingerprint
    assert all(is_tone(row, int(row["texts"][0][5:])) for row in everything(first))


def test_streams(tmp_path):
    for part, numbers in (("train", range(12)), ("test", range(10, 14))):
        cells = {
            "audio": [{"bytes": b"" if i == 3 else wav(i), "path": None} for i in numbers],
            "speaker": [f"s{i % 2}" for i in numbers],
        }
        (tmp_path / part).mkdir()
        parquet(tmp_path / part / "a.parquet", cells)
    data = load(options(tmp_path, stream=True, test_split="test", held_out=4))
    rows = list(data.train)
    assert len(data.test) == 4 and len(rows) == 9  # two are test recordings, one is empty
    assert all(is_tone(row, i) for row, i in zip(rows, [0, 1, 2, *range(4, 10)], strict=True))
    assert [row["speaker"] for row in rows[:3]] == [0, 1, 0] and data.speakers == ["s0", "s1"]
    batch = WindowCollate(400, RATE)(rows[:4], np.arange(4, dtype=np.uint64))
    assert batch["audio"].shape == (4, 400) and batch["speakers"].tolist() == [0, 1, 0, 0]
    for changes, said in (({}, "needs data.test_split"), ({"test_split": "test", "held_out": 0.5}, "is a share")):
        with pytest.raises(ValueError, match=said):
            load(options(tmp_path, stream=True, **changes))


def test_streams_tell_speakers_apart_that_no_test_row_has_and_warn_of_such_labels(tmp_path, caplog):
    def rows(labels: str) -> list:
        for part, of in (("train", slice(8)), ("test", slice(4, 6))):
            (tmp_path / part).mkdir(exist_ok=True)
            cells = {
                "audio": [{"bytes": wav(i), "path": None} for i in range(8)][of],
                "speaker": list("ccddceff")[of],
                "label": list(labels)[of],
            }
            parquet(tmp_path / part / "a.parquet", cells)
        with caplog.at_level("WARNING"):
            return list(load(options(tmp_path, stream=True, test_split="test", held_out=4)).train)

    known = rows("xyxyxyxx")
    speakers = [row["speaker"] for row in known]  # of c c d d f f; c and e are in the test rows
    assert speakers[:2] == [0, 0] and speakers[2] == speakers[3] and speakers[4] == speakers[5]
    assert len(set(speakers)) == 3 and None not in speakers
    assert WindowCollate(400, RATE)(known, np.arange(6, dtype=np.uint64))["speakers"].tolist() == speakers
    assert [row["label"] for row in known] == [0, 1, 0, 1, 0, 0] and "labels of column" not in caplog.text
    assert [row["label"] for row in rows("xyxzxyzz")] == [0, 1, 0, None, None, None]
    assert caplog.text.count("labels of column 'label' that no test row has") == 1


def test_equal_files_are_on_one_side(tmp_path):
    folder = sound_folder(tmp_path / "d", 20)
    for i in range(20):
        (folder / f"copy {i}.wav").write_bytes((folder / f"{i:03}.wav").read_bytes())
    for seed in range(4):
        data = load(options(folder, held_out=0.25, split_seed=seed))
        sides = [{decode(row["audio"], 0, RATE).tobytes() for row in rows} for rows in (data.train, data.test)]
        assert len(data.test) == 10 and len(sides[1]) == 5 and not sides[0] & sides[1]
    unread = load(options(folder, held_out=0.25, check_files=0))  # the broken twin: copies are not known for such
    sides = [{decode(row["audio"], 0, RATE).tobytes() for row in rows} for rows in (unread.train, unread.test)]
    assert sides[0] & sides[1]


def test_fifty_faults_in_a_thousand_are_counted_by_cause(tmp_path):
    silent, nan = encoded(np.zeros((800, 1))), tone(0)
    nan[5] = np.inf
    nan, cut, flac = encoded(nan, subtype="FLOAT"), half(encoded(tone(2, 8000), "OGG")), half(encoded(tone(3), "FLAC"))
    slow = encoded(tone(4), rate=20)
    bad = [half(wav(1)), b"", b"no recording", silent, nan, encoded(tone(0, 0)), cut, flac, None, slow] * 5
    lines = ["audio,text"]
    for i, data in enumerate([*map(wav, range(950)), *bad]):
        lines.append(f"{'' if data is None else f'{i}.bin'},text {i}")
        (tmp_path / f"{i}.bin").write_bytes(data or b"")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    config = options(tmp_path / "a.csv", max_bad=0.05, held_out=50)
    data = load(config)
    assert data.counts["dropped"] == {
        "truncated or damaged": 15,
        "empty file": 5,
        "not a recording": 5,
        "silent": 5,
        "samples that are not finite": 5,
        "no samples": 5,
        "no audio": 5,
        "rate of 20 Hz": 5,
    }
    assert len(data.train) == 900 and len(data.test) == 50
    assert data.dropped["silent"] == [953, 963, 973, 983, 993]
    with pytest.raises(ValueError, match=r"50 of 1000 rows are unusable, more than data.max_bad=0.01 allows: .*silent"):
        load(dataclasses.replace(config, max_bad=0.01))


def test_large_sets_have_their_test_recordings_decoded_alone(tmp_path):
    nan = tone(0)
    nan[5] = np.nan
    files = [encoded(nan + i, subtype="FLOAT") if i % 2 else wav(i) for i in range(40)]
    parquet(tmp_path / "a.parquet", {"audio": [{"bytes": data, "path": None} for data in files]})
    data = load(options(tmp_path / "a.parquet", check_files=10, held_out=10, max_bad=1))
    count = data.counts["dropped"]["samples that are not finite"]
    assert 0 < count < 10 and len(data.test) == 10 - count and len(data.train) == 30
    assert all(np.isfinite(decode(row["audio"], 0, RATE)).all() for row in data.test)


def test_a_hub_set_of_plain_files_is_to_be_downloaded(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda **_: SimpleNamespace(name="audiofolder"))
    for stream in (False, True):
        with pytest.raises(ValueError, match=r"plain files.*hf download some/set --repo-type dataset"):
            load(options("some/set", stream=stream, test_split="test"))


def test_wrong_options_are_one_sentence(tmp_path, monkeypatch):
    parquet(tmp_path / "a.parquet", {"audio": [{"bytes": wav(i), "path": None} for i in range(4)], "x": [[1.0]] * 4})
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no sound")
    (tmp_path / "b.csv").write_text("sound,x\n1,2\n")
    table = tmp_path / "a.parquet"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers").mkdir()
    (tmp_path / "here").mkdir()
    wrong = {
        "data.source is empty": options(""),
        "does not exist": options(tmp_path / "none.wav"),
        r"empty' holds no recordings \(.wav, .flac": options(tmp_path / "empty"),
        r"notes' holds no recordings": options(tmp_path / "notes"),
        "no column of recordings that is known by its name: set data.audio_column to one of 'sound'": options(
            tmp_path / "b.csv"
        ),
        "has no column 'wav': set data.audio_column to one of 'audio', 'x'": options(table, audio_column="wav"),
        "has no column 'words': set data.text_column": options(table, text_column="words"),
        "has no column 'who': set data.speaker_column": options(table, speaker_column="who"),
        "holds list where names or numbers of classes should be: set data.label_column": options(
            table, label_column="x"
        ),
        "holds list where names or numbers of classes should be: set data.speaker_column": options(
            table, speaker_column="x"
        ),
        "holds float where texts should be: set data.text_column": options(table, text_column="x"),
        "holds list where recordings or their paths should be: set data.audio_column": options(table, audio_column="x"),
        "data.held_out=4 leaves nothing to train on": options(table, held_out=4),
        "speech is neither streamed nor split": options("speech", stream=True),
        "sounds has no columns to choose": options("sounds", label_column="kind"),
        "speech has no columns to choose": options("speech", group_column="speaker"),
        "has no column 'album': set data.group_column": options(table, group_column="album"),
        "a folder here too: write ./numbers for the folder": options("numbers"),
        r"here/none' does not exist": options("here/none"),
    }
    for said, config in wrong.items():
        with pytest.raises(ValueError, match=said) as found:
            load(config)
        assert str(found.value).count(". ") == 0 and str(found.value).endswith(".")
    for changes, said in (({"rate": 16}, "data.rate"), ({"held_out": -1}, "held_out"), ({"held_out": 1.5}, "held_out"),
                          ({"hours": 0}, "data.hours"), ({"voices": 0}, "data.voices")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            options("speech", **changes)


def test_a_share_of_each_stratum_is_held_out():
    ids = np.repeat(np.arange(50), 2)
    strata = np.repeat(np.arange(50) % 10, 2)
    strata[ids == 49] = 11  # a stratum of one id
    train, test = split_each(ids, strata, 0.2, 0, "texts")
    assert sorted(train + test) == list(range(100)) and not set(ids[train]) & set(ids[test])
    assert set(strata[test]) == set(range(10)) and len(test) == 20 and 11 not in strata[test]
    assert len(split_each(ids, strata, 20, 0, "texts")[1]) == 40  # a number of ids: 4 of each five, none of the one
    assert not split_each(ids, strata, 0, 0, "texts")[1]
    assert split_each(ids, strata, 0.2, 1, "texts")[1] != test


def test_rows_know_their_lengths_or_say_so():
    rows = Rows([wav(0)], np.arange(1), [[]], [None], [None], [None])
    with pytest.raises(AssertionError, match="not known"):
        _ = rows.lengths
