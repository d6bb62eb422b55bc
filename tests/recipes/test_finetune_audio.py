"""Fine-tuning on transcripts, small: a run is learnt, measured, published and told of, from new weights and from a
checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modalities.audio.backbones import ModelConfig
from modalities.audio.config import DataConfig
from modalities.audio.ctc import CTC, CTCConfig
from modalities.audio.rows import Rows, Sound
from modalities.audio.sources import load
from modalities.audio.transcripts import (
    TranscriptCollate,
    build_tokenizer,
    frames_needed,
    plain,
    transcribed,
)
from modalities.media import CorruptMedia
from recipes.finetune_audio import PRESETS, Config, main, shape
from recipes.finetune_audio_measure import explain, sides, transcripts
from trainers.hub.check import verify

TINY = ModelConfig(conv_width=8, width=16, layers=1, heads=2, feed_forward=32, position_frames=4)
DATA = DataConfig(voices=2, hours=0.05, held_out=0.3)


def config(out: Path, start_from: str = "") -> Config:
    default = PRESETS["ctc"]
    train = replace(default.train, out=out, steps=4, evaluate_every=2, log_every=1, tracker="none")
    return replace(default, data=DATA, model=replace(TINY, start_from=start_from), train=train)


def test_a_run_leaves_a_model_that_strangers_can_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(config(tmp_path / "first"))
    said = capsys.readouterr().out
    assert "begins from new weights" in said and "voices are synthetic" in said
    results = json.loads((tmp_path / "first" / "results.json").read_text())
    assert {"wer", "cer", "loss"} <= results["metrics"].keys() and results["baselines"] == {}
    second = config(tmp_path / "second", str(tmp_path / "first" / "model"))
    main(replace(second, minutes=0.5))
    assert "begins from new weights" not in capsys.readouterr().out
    results = json.loads((tmp_path / "second" / "results.json").read_text())
    assert len(results["baselines"]["from new weights"]["cer"]) == 1
    assert len(list((tmp_path / "second").glob("new-weights-0-*"))) == 1
    card = (tmp_path / "second" / "README.md").read_text()
    assert "2006.11477" in card and "synthetic voices" in card and "| said | heard |" in card
    for name in ("posteriorgram.png", "loss.png"):
        assert name in card and (tmp_path / "second" / name).exists()
    assert verify(tmp_path / "second").difference < 1e-5


def test_a_run_from_new_weights_is_known_by_the_shape_of_its_model() -> None:
    task = CTC(TINY, build_tokenizer(["ab"]), 16_000, CTCConfig())
    before = shape(task)
    task.encoder.config._name_or_path = "elsewhere"
    assert shape(task) == before
    task.encoder.config.hidden_dropout = 0.5
    assert shape(task) != before


def test_texts_are_letters_and_apostrophes() -> None:
    assert plain("Don’t  STOP, 'she' said -- Café!") == "don't stop she said café"
    assert plain("7 ?!") == ""
    assert plain("Cafe\u0301") == plain("Caf\u00e9") == "caf\u00e9"
    assert plain("हिन्दी भाषा") == "हिन्दी भाषा"  # vowel signs are no letters, but belong to the word
    tokenizer = build_tokenizer(["don't stop", "a"])
    assert tokenizer.decode(tokenizer("don't stop").input_ids, group_tokens=False) == "don't stop"
    assert tokenizer.pad_token_id == 0 and tokenizer("z").input_ids == [tokenizer.unk_token_id]
    assert "|" in tokenizer.get_vocab() and " " not in tokenizer.get_vocab()
    with pytest.raises(ValueError, match="No transcript has a letter"):
        build_tokenizer([""])


def rows(texts: list[str], seconds: list[float]) -> Rows:
    sounds = [Sound(np.zeros(int(1000 * length), dtype=np.int16), 1000) for length in seconds]
    nothing: list[None] = [None] * len(texts)
    given = [[text] if text else [] for text in texts]
    return Rows(sounds, np.arange(len(texts)), given, nothing, nothing, nothing)  # type: ignore[arg-type]


def test_what_cannot_be_learnt_from_is_left_out_and_counted() -> None:
    texts = ["", "room 101", "too long", "aab", "aab", "good"]
    found = transcribed(rows(texts, [1, 1, 9, 0.3, 0.4, 1]), 1000, 5.0, lambda samples: samples // 100)
    assert frames_needed("aab") == 4  # a blank between equal neighbours
    assert found.left_out == {"no transcript": 1, "digits": 1, "too long": 1, "more characters than frames": 1}
    assert found.texts == ["aab", "good"] and found.lengths.tolist() == [400, 1000]
    assert [len(found.first(samples)) for samples in (1, 400, 1399, 1400, 9999)] == [1, 1, 1, 2, 2]


def test_batches_are_whole_recordings_with_their_tokens() -> None:
    some = transcribed(rows(["ab", "a"], [1.2, 0.7]), 1000, 5.0, lambda samples: samples)
    batch = TranscriptCollate(build_tokenizer(["ab"]), 5000, 1000)(
        some.__getitems__([0, 1]), np.arange(2, dtype=np.uint64)
    )
    assert batch["audio"].shape == (2, 1500) and batch["lengths"].tolist() == [1200, 700]
    assert batch["labels"].tolist() == [[3, 4], [3, -100]] and batch["seeds"].tolist() == [0, 1]


def test_a_damaged_recording_gives_its_place_to_another() -> None:
    some = transcribed(rows(["ab", "a"], [1.2, 0.7]), 1000, 5.0, lambda samples: samples).__getitems__([0, 1])
    some[0]["audio"] = b"no recording"
    collate = TranscriptCollate(build_tokenizer(["ab"]), 5000, 1000)
    batch = collate(some, np.arange(2, dtype=np.uint64))
    assert batch["lengths"].tolist() == [700, 700] and batch["labels"].tolist() == [[3], [3]]
    with pytest.raises(CorruptMedia):
        collate(some)


def test_held_out_sentences_are_not_among_those_learnt_from() -> None:
    data = load(DATA)

    train, test = sides(Everything(), data, 12.0, 0.0)  # type: ignore[arg-type]
    assert len(test) and not set(train.texts) & set(test.texts)
    with pytest.raises(ValueError, match=r"None of the training recordings of speech can be used \(.*too long"):
        sides(Everything(), data, 0.1, 0.0)  # type: ignore[arg-type]


class Everything:
    """A model with as many frames as samples."""

    def frames(self, lengths: object) -> object:
        return lengths


def test_what_anyone_reads_of_the_held_out_texts_is_not_learnt_from() -> None:
    data = replace(load(DATA), rate=1000)
    learnt, held = rows(["a b", "c", "room 7", "d"], [1, 1, 1, 1]), rows(["A, b!", "", "e"], [1, 1, 1])
    data = replace(data, train=learnt, test=held)
    train, test = sides(Everything(), data, 5.0, 0.0)  # type: ignore[arg-type]
    assert train.texts == ["c", "d"] and test.texts == ["a b", "e"]
    words = explain(data, train, test)
    assert "Left out of the training side: 1 digits, 1 also held out." in words
    assert "Left out of the held-out side: 1 no transcript." in words
    with pytest.raises(ValueError, match="1 also held out"):
        sides(Everything(), replace(data, train=rows(["e"], [1])), 5.0, 0.0)  # type: ignore[arg-type]


def test_minutes_are_drawn_from_all_of_the_table() -> None:
    texts = [chr(ord("a") + place) * 2 for place in range(20)]
    data = replace(load(DATA), rate=1000, train=rows(texts, [1] * 20), test=rows(["z"], [1]))
    some, _ = sides(Everything(), data, 5.0, 0.1)  # type: ignore[arg-type]
    assert len(some) == 6 and len(some.lengths) == 6 and set(some.texts) != set(texts[:6])
    fewer, _ = sides(Everything(), data, 5.0, 0.05)  # type: ignore[arg-type]
    assert fewer.texts == some.texts[:3]


def test_data_without_transcripts_is_refused() -> None:
    data = load(DATA)
    assert isinstance(data.train, Rows)
    mute = replace(data.train, texts=[[] for _ in data.train.texts])
    with pytest.raises(ValueError, match=r"no transcripts to learn from; name their column with data.text_column"):
        transcripts(replace(data, train=mute))


def test_what_measures_must_be_there_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"package jiwer, which is not installed: pip install -e '\.\[audio\]'"):
        main(config(tmp_path))


@pytest.mark.parametrize(("name", "value"), [("seconds", 0.0), ("minutes", -1.0), ("scratch", -1)])
def test_wrong_options_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} is {value:g}"):
        Config(**{name: value})  # type: ignore[arg-type]
