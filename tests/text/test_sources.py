"""Tables of texts from real files: nothing is lost silently, and what is wrong is one sentence."""

import bz2
import csv
import gzip
import io
import json
import tarfile

import datasets
import numpy as np
import pytest

from modalities import plain_text
from modalities.text.config import DataConfig
from modalities.text.sources import load
from tests.image_text.conftest import private_cache as private_cache
from tests.image_text.files import png
from trainers.stream import StreamOrder


def options(source, **changes) -> DataConfig:
    return DataConfig(source=str(source), **{"held_out": 2, **changes})


def parquet(path, **columns):
    datasets.Dataset.from_dict(columns).to_parquet(path)
    return path


def texts(*sides) -> list[list[str]]:
    return [row["texts"] for side in sides for row in side]


def story(number: int) -> str:
    return f"Story {number} has some words."


def test_every_kind_of_file_gives_the_same_set(tmp_path):
    stories = [story(i) for i in range(8)]
    (tmp_path / "txt").mkdir()
    for i, text in enumerate(stories):
        (tmp_path / "txt" / f"{i}.txt").write_text(text)
    parquet(tmp_path / "a.parquet", text=stories)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in stories))
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in stories)])
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i, text in enumerate(stories):
            member = tarfile.TarInfo(f"{i}.txt")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    (tmp_path / "lines.txt").write_text("\n".join(stories))
    (tmp_path / "lines.txt.gz").write_bytes(gzip.compress("\n".join(stories).encode()))
    (tmp_path / "paragraphs.txt.bz2").write_bytes(bz2.compress("\n\n  \n".join(stories).encode()))
    found = [load(options(tmp_path / name)) for name in ("a.parquet", "a.jsonl", "a.csv", "txt", "txt/*.txt")]
    found.append(load(options(tmp_path / "a.tar", text_column="txt")))
    found += [load(options(tmp_path / name, unit="line")) for name in ("lines.txt", "lines.txt.gz")]
    found.append(load(options(tmp_path / "paragraphs.txt.bz2", unit="paragraph")))
    assert len({data.fingerprint for data in found}) == 1
    for data in found:
        assert data.counts == {"rows": 8, "repeated": 0, "dropped": {}, "train": 6, "test": 2}
        assert sorted(text for (text,) in texts(data.train, data.test)) == stories
    other = load(options(tmp_path / "a.parquet", split_seed=1))
    assert other.fingerprint != found[0].fingerprint  # the split counts


def test_rows_of_several_texts_with_labels_and_scores(tmp_path):
    count = 6
    path = parquet(
        tmp_path / "a.parquet",
        first=[f"a {i}" for i in range(count)],
        second=[f"b {i}" for i in range(count)],
        kind=["yes", "no", None, "yes", "no", "yes"],
        alike=[0.5, 1, 2, 3, 4, 5.0],
    )
    data = load(options(path, text_column="second, first", label_column="kind", score_column="alike"))
    assert data.roles == ["second", "first"] and data.classes == ["no", "yes"]
    rows = {row["texts"][0]: row for row in [*data.train, *data.test]}
    assert rows["b 0"]["texts"] == ["b 0", "a 0"] and rows["b 0"]["score"] == 0.5 and rows["b 0"]["label"] == 1
    assert rows["b 2"]["label"] is None and rows["b 1"]["label"] == 0
    same = load(options(path, text_column="second,first", label_column="kind", score_column="alike"))
    unscored = load(options(path, text_column="second,first", label_column="kind"))
    assert same.fingerprint == data.fingerprint != unscored.fingerprint


def test_declared_labels_and_auto(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["b", "a"])})
    rows = datasets.Dataset.from_dict({"text": list("uvwxyz"), "label": [0, 1, 0, 1, -1, None]}, features=features)
    rows.to_parquet(tmp_path / "a.parquet")
    data = load(options(tmp_path / "a.parquet", label_column="auto"))
    named = {row["texts"][0]: None if row["label"] is None else data.classes[row["label"]] for row in data.train}
    named |= {row["texts"][0]: None if row["label"] is None else data.classes[row["label"]] for row in data.test}
    assert data.classes == ["a", "b"] and named == dict(zip("uvwxyz", ["b", "a", "b", "a", None, None], strict=True))
    assert load(options(parquet(tmp_path / "b.parquet", text=list("abc")), label_column="auto")).classes == []


def test_folders_of_text_files_are_labels_and_splits(tmp_path):
    for part, count in (("train", 4), ("test", 2)):
        for kind in ("neg", "pos"):
            (tmp_path / "d" / part / kind).mkdir(parents=True)
            for i in range(count):
                (tmp_path / "d" / part / kind / f"{i}.txt").write_text(f"{part} {kind} {i}")
    data = load(options(tmp_path / "d", test_split="test", label_column="folder"))
    assert data.classes == ["neg", "pos"] and len(data.train) == 8 and len(data.test) == 4
    assert all(data.classes[row["label"]] in row["texts"][0] for row in [*data.train, *data.test])
    with pytest.raises(ValueError, match="no sub-folder 'valid'"):
        load(options(tmp_path / "d", split="valid"))


def test_what_cannot_be_used_is_counted_by_cause(tmp_path):
    cells = ["word", "", " \n\t", None, "a\0b", "two words", "x"]
    path = parquet(tmp_path / "a.parquet", text=cells)
    data = load(options(path, max_bad=0.6, held_out=1))
    assert data.dropped == {"empty text": [1, 2, 3], "NUL characters": [4]}
    assert data.counts["rows"] == 7 and data.counts["dropped"] == {"empty text": 3, "NUL characters": 1}
    assert sorted(texts(data.train, data.test)) == [["two words"], ["word"], ["x"]]  # one word is a document
    with pytest.raises(ValueError, match=r"4 of 7 rows are unusable, .* 3 empty text \(row 1, 2, 3\)"):
        load(options(path))
    path = parquet(tmp_path / "b.parquet", text=["a", "b", "c"], alike=[1.0, float("nan"), None])
    data = load(options(path, max_bad=0.7, score_column="alike", held_out=0))
    assert data.counts["dropped"] == {"no score": 2} and len(data.test) == 0


def test_invalid_utf8_is_named_by_file_and_byte(tmp_path):
    (tmp_path / "d").mkdir()
    for i in range(4):
        (tmp_path / "d" / f"{i}.txt").write_bytes(f"story {i}\r\nends".encode() + (b" caf\xe9" if i == 2 else b""))
    with pytest.raises(ValueError, match=r"1 of 4 rows .* 1 invalid UTF-8 \(row 2: 2.txt, byte 17\)"):
        load(options(tmp_path / "d"))
    data = load(options(tmp_path / "d", max_bad=0.3, held_out=1))
    assert data.dropped == {"invalid UTF-8": [2]} and all("\r" not in text for (text,) in texts(data.train))
    (tmp_path / "lines.txt").write_bytes("\ufeffgood\nbetter\n".encode() + b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"row 2: lines.txt, byte 18\)"):  # 3 of the mark, 5 + 7 of the lines, 3
        load(options(tmp_path / "lines.txt", unit="line"))
    data = load(options(tmp_path / "lines.txt", unit="line", max_bad=0.5, held_out=0))
    assert texts(data.train)[0] == ["good"]
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"some words " * 50)[:-12])
    with pytest.raises(ValueError, match=r"cut.txt.gz cannot be read"):
        load(options(tmp_path / "cut.txt.gz"))


def test_equal_texts_are_on_one_side(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=[story(i % 10) for i in range(30)], key=list(range(30)))
    for id_column in ("", "key"):  # a name for every row does not make two documents of one text
        data = load(options(path, held_out=4, id_column=id_column))
        assert data.counts["repeated"] == 20 and len(data.test) == 12
        assert not {text for (text,) in texts(data.train)} & {text for (text,) in texts(data.test)}


def test_rows_of_a_document_go_together(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=[story(i) for i in range(30)], key=[i // 3 for i in range(30)])
    together = load(options(path, id_column="key"))
    assert len(together.test) == 6 and not set(together.train.documents) & set(together.test.documents)
    numbers = {int(text.split()[1]) // 3 for (text,) in texts(together.test)}
    assert len(numbers) == 2
    # Broken twin: without the name of the document its rows part.
    alone = load(options(path, held_out=6))
    parted = {int(text.split()[1]) // 3 for (text,) in texts(alone.test)}
    assert parted & {int(text.split()[1]) // 3 for (text,) in texts(alone.train)}


def test_streams_give_the_same_rows(tmp_path, caplog):
    (tmp_path / "d").mkdir()
    cells = [story(0), None, *map(story, range(1, 8))]
    parquet(tmp_path / "d" / "train.parquet", text=cells, label=[i % 2 for i in range(9)])
    parquet(tmp_path / "d" / "test.parquet", text=[story(i) for i in range(6, 10)], label=[0, 1, 0, 1])
    wanted = {"test_split": "test", "label_column": "label", "max_bad": 0.2, "held_out": 4}
    whole, stream = (load(options(tmp_path / "d", stream=stream, **wanted)) for stream in (False, True))
    assert isinstance(stream.train, datasets.IterableDataset) and stream.classes == whole.classes == ["0", "1"]
    assert whole.counts["also_in_test"] == 2
    assert list(stream.train) == list(whole.train) and list(stream.test) == list(whole.test)
    assert [row["texts"][0] for row in stream.train] == [story(i) for i in range(6)]
    assert stream.counts["first_rows"] == {"rows": 9, "dropped": {"empty text": 1}}
    assert "a row is left out: empty text (1 of 2 rows so far)" in caplog.text
    with pytest.raises(ValueError, match=r"first 9 rows: 1 of 9 rows are unusable"):
        load(options(tmp_path / "d", stream=True, **wanted | {"max_bad": 0.1}))
    few = load(options(tmp_path / "d", stream=True, **wanted | {"held_out": 1, "label_column": ""}))
    assert len(few.test) == 1 and len(list(few.train)) == 7  # broken twin: one held-out row fewer excludes fewer
    for part in ("train", "test"):
        (tmp_path / "t" / part).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "t" / part / f"{i}.txt").write_text(f"{part} {i}")
    files = load(options(tmp_path / "t", stream=True, test_split="test"))
    assert texts(files.train) == [["train 0"], ["train 1"], ["train 2"]] and len(files.test) == 2


def test_labels_that_a_stream_does_not_know_are_counted(tmp_path):
    parquet(tmp_path / "train.parquet", text=[story(i) for i in range(8)], kind=["a", "b", "c", None] * 2)
    parquet(tmp_path / "test.parquet", text=["Held out.", "This too."], kind=["a", "b"])
    wanted = {"stream": True, "test_split": "test", "label_column": "kind"}
    with pytest.raises(ValueError, match=r"2 of 8 rows are unusable, .* 2 unknown class \(row 2: 'c', 6: 'c'\)"):
        load(options(tmp_path, **wanted))
    data = load(options(tmp_path, **wanted, max_bad=0.3))
    assert data.classes == ["a", "b"] and data.counts["first_rows"]["dropped"] == {"unknown class": 2}
    assert [row["label"] for row in data.train] == [0, 1, None, 0, 1, None]  # no "c" that passes for unlabelled


def test_a_stream_that_turns_bad_is_logged_now_and_then_and_stopped(tmp_path, caplog):
    cells = [None if i > 1000 and i % 2 else story(i) for i in range(1400)]
    parquet(tmp_path / "train.parquet", text=cells)
    parquet(tmp_path / "test.parquet", text=["Held out.", "This too."])
    data = load(options(tmp_path, stream=True, test_split="test", max_bad=0.1))
    caplog.clear()
    with pytest.raises(ValueError, match=r"\d+ of \d+ rows are unusable, more than data.max_bad=0.1 allows, .* empty"):
        list(data.train)
    assert 1 < caplog.text.count("a row is left out") < 9
    patient = load(options(tmp_path, stream=True, test_split="test", max_bad=0.2))
    assert len(list(patient.train)) == 1400 - 200


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_stream_of_text_files_resumes_where_it_stood(tmp_path, lanes):
    for part, count in (("train", 12), ("test", 1)):
        (tmp_path / part).mkdir()
        for i in range(count):
            (tmp_path / part / f"{i:02}.txt").write_text(f"{part} {i}")
    data = load(options(tmp_path, stream=True, test_split="test"))
    whole, parted = (StreamOrder(data.train, 2, lanes, 3, 0, 0, 1) for _ in range(2))
    tickets = list(whole.from_step(0, 9))
    list(parted.from_step(0, 4))
    again = StreamOrder(data.train, 2, lanes, 3, 0, 0, 1)
    again.restore(json.loads(json.dumps(parted.state(4))))
    resumed = list(again.from_step(4, 9))
    assert [ticket.rows for ticket in resumed] == [ticket.rows for ticket in tickets[4:]]
    assert [ticket.rows for ticket in resumed] != [ticket.rows for ticket in tickets[:5]]  # broken twin: from the start
    assert len({row["texts"][0] for ticket in tickets[:6] for row in ticket.rows}) == 12


def test_pictures_with_a_word_about_them_are_no_texts(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(png(1))
    (tmp_path / "README.txt").write_text("Three pictures.")
    with pytest.raises(ValueError, match="has no column 'text'"):
        load(options(tmp_path))


def test_tables_among_texts_are_refused_by_name(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text(story(i))
    (tmp_path / "meta.csv").write_text("text\nname\n")
    with pytest.raises(ValueError, match=r"holds 4 .txt files and also meta.csv: name the files .*/\*.txt'\.$"):
        load(options(tmp_path))
    assert len(load(options(tmp_path / "*.txt", held_out=0)).train) == 4
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "README.txt").write_text("One table.")
    parquet(tmp_path / "a" / "train.parquet", text=list("abc"))  # no text files: a table with a README
    assert len(load(options(tmp_path / "a", held_out=0)).train) == 3


@pytest.mark.parametrize("unit", ["file", "line", "paragraph"])
@pytest.mark.parametrize("text", [b"a" * 1001, b"a\n" * 501])
def test_packed_files_are_read_up_to_a_size(tmp_path, monkeypatch, unit, text):
    monkeypatch.setattr(plain_text, "_MOST_UNPACKED", 1000)
    for kind, packed in (("gz", gzip.compress(text)), ("bz2", bz2.compress(text))):
        (tmp_path / f"bomb.txt.{kind}").write_bytes(packed)
        with pytest.raises(ValueError, match=rf"bomb.txt.{kind} unpacks to more than 1,000 bytes: unpack it"):
            load(options(tmp_path / f"bomb.txt.{kind}", unit=unit, held_out=0))
    (tmp_path / "fits.txt.gz").write_bytes(gzip.compress(text[:1000]))
    (tmp_path / "plain.txt").write_bytes(text)
    for name in ("fits.txt.gz", "plain.txt"):
        assert load(options(tmp_path / name, unit=unit, held_out=0)).counts["dropped"] == {}


def test_a_share_is_held_out(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=[story(i) for i in range(40)])
    assert [len(load(options(path, held_out=share)).test) for share in (0, 0.1, 0.001, 7)] == [0, 4, 1, 7]


def test_wrong_options_are_one_sentence(tmp_path):
    table = parquet(
        tmp_path / "a.parquet", text=list("abcd"), number=[1, 2, 3, 4], parts=[["x"]] * 4, mark=list("efgh")
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.txt").write_text("A single document.\nOf two lines.")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "bad.csv").write_bytes(b"text\ncaf\xe9\n")
    cases = {
        r"data.source is empty": options(""),
        r"does not exist": options(tmp_path / "missing.txt"),
        r"holds no file that is read": options(tmp_path / "empty"),
        r"has no column 'body': set data.text_column to one of 'text', 'number'": options(table, text_column="body"),
        r"has no column 'who': set data.id_column": options(table, id_column="who"),
        r"data.text_column is empty": options(table, text_column=" ,"),
        r"'number' of .* holds int where text should be": options(table, text_column="number"),
        r"'parts' of .* holds list where text should be": options(table, text_column="parts"),
        r"'parts' of .* holds list where names or numbers of classes": options(table, label_column="parts"),
        r"'mark' of .* holds str where numbers should be": options(table, score_column="mark"),
        r"held_out=4 leaves nothing .* 4 different documents": options(table, held_out=4),
        r"one.txt is a single document, .* set data.unit": options(tmp_path / "one.txt"),
        r"1 of 1 rows are unusable": options(tmp_path / "blank.txt"),
        r"has no row with text": options(tmp_path / "blank.txt", max_bad=1),
        r"can't decode byte": options(tmp_path / "bad.csv"),
        r"held_out=0.1 is a share, and how long": options(table, stream=True, test_split="test", held_out=0.1),
        r"data.stream needs data.test_split": options(table, stream=True),
        r"has no usable text that is not in 'test' too": options(table, test_split="test"),
        r"must name files of one kind out of .parquet": options(tmp_path / "*"),
        r"joins what cannot be": options("wikipedia,verses"),
        r"is neither streamed nor split": options("lee", test_split="test"),
        r"lee has no columns to choose": options("lee", label_column="kind"),
    }
    for message, config in cases.items():
        with pytest.raises(ValueError, match=message) as caught:
            load(config)
        assert "\n" not in str(caught.value)
    for message, changes in {
        r"held_out=1.5 is neither": {"held_out": 1.5},
        r"held_out=-1 is neither": {"held_out": -1},
    }.items():
        with pytest.raises(ValueError, match=message):
            DataConfig(**changes)


@pytest.mark.parametrize("source", ["lee", "bible", "polarity"])
def test_built_in_sets(source):
    data, other = load(DataConfig(source=source)), load(DataConfig(source=source, split_seed=1))
    train, test = ({tuple(text) for text in texts(side)} for side in (data.train, data.test))
    assert train and test and not train & test
    assert 0.07 < len(data.test) / (len(data.train) + len(data.test)) < 0.13
    assert data.counts["rows"] == len(data.train) + len(data.test) + sum(data.counts["dropped"].values())
    assert data.licence and data.credit and data.fingerprint != other.fingerprint
    assert all(len(row) == len(data.roles) and all(row) for row in train | test)
    labels = {row["label"] for row in data.train}
    assert labels == (set(range(len(data.classes))) if data.classes else {None})


def test_joined_sets_are_split_as_one():
    data = load(DataConfig(source="lee, bible", held_out=100))
    assert len(data.train) + len(data.test) == 300 + 1189 and data.classes == []
    assert set(data.train.labels) == {None} and len(set(data.train.ids) | set(data.test.ids)) == 1489
    found = {text for (text,) in texts(data.train)}
    assert not found & {text for (text,) in texts(data.test)}
    assert 0 < sum("\n" in text for (text,) in texts(data.test)) < len(data.test)  # of both
    assert "Lee" in data.credit and "Bible" in data.credit and data.licence == "other"


def test_verses_are_the_same_verse():
    data = load(DataConfig(source="verses"))
    found = {row["id"]: row["texts"] for row in [*data.train, *data.test]}
    assert found[1_001_003][0] == 'God said, "Let there be light," and there was light.'
    assert found[1_001_003][1] == "And God said, Let there be light: and there was light."
    assert 1_001_001 not in found and data.counts["dropped"]["worded alike"] > 1000  # both word it alike
    assert not set(data.train.ids // 1000) & set(data.test.ids // 1000)  # chapters
    assert len(np.unique([text for text, _ in texts(data.train, data.test)])) == len(data.train) + len(data.test)
