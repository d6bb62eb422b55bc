"""The BERT recipe from options to a card, on files made here."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForMaskedLM

from modalities.text.backbones import ModelConfig, build_model
from modalities.text.config import DataConfig
from modalities.text.features import word_layers
from modalities.text.tokenizer import TokenizerConfig
from recipes import bert
from recipes.run import read_options
from recipes.text_baselines import by_word, new_weights
from recipes.text_measure import EvalConfig, as_read, explain, f1, prepare, without
from trainers.config import TrainConfig
from trainers.hub.check import verify

WHO = {"court": ("the king", "a queen", "David"), "sea": ("the wind", "a sailor", "Jonah")}
DID = ("went to", "saw", "built", "loved", "crossed", "heard")


def write_texts(path: Path) -> Path:
    """Documents of two topics, as a table."""
    draw = np.random.default_rng(0)
    with path.open("w") as file:
        for number in range(40):
            topic = ("court", "sea")[number % 2]
            lines = [f"Then {draw.choice(WHO[topic])} {draw.choice(DID)} {draw.choice(WHO[topic])}." for _ in range(8)]
            lines += [f"In those days {draw.choice(WHO[topic])} spoke to the people of Israel."]
            file.write(json.dumps({"text": "\n".join(lines), "topic": topic, "number": number}) + "\n")
    return path


def tiny(tmp_path: Path, preset: str = "bert") -> bert.Config:
    default = bert.PRESETS[preset]
    data = DataConfig(source=str(write_texts(tmp_path / "texts.jsonl")))
    shape = ModelConfig(
        family=default.model.family, width=16, layers=1, heads=2, feed_forward=32, length=24, dropout=0.0
    )
    kind = default.tokenizer.kind
    return replace(
        default,
        data=data,
        tokenizer=TokenizerConfig(kind=kind, vocabulary=320 if kind == "bpe" else 120),
        model=shape,
        train=TrainConfig(out=tmp_path / preset, batch_size=8, steps=10, log_every=5, evaluate_every=5, tracker="none"),
        eval=EvalConfig(
            labelled=replace(data, label_column="topic"), seeds=2, passages=200, words=200, supervised_epochs=1.0
        ),
    )


@pytest.mark.parametrize("preset", ["bert", pytest.param("albert", marks=pytest.mark.slow)])
def test_leaves_a_table_pictures_and_a_card(preset: str, tmp_path: Path) -> None:
    config = tiny(tmp_path, preset)
    bert.main(config)
    out = config.train.out
    results = json.loads((out / "results.json").read_text())
    rows = {"random initialisation", "token frequencies", "TF-IDF, logistic regression", "each word as mostly written"}
    assert rows | {"supervised"} == set(results["baselines"])
    scores = results["metrics"]
    assert {"topic", "topic_knn", "capitals", "held_out_accuracy", "held_out_perplexity"} <= scores.keys()
    assert ("pairs" in scores) == (preset == "albert")
    assert results["baselines"]["TF-IDF, logistic regression"]["topic"] > 0.8  # that the question can be answered
    card = (out / "README.md").read_text()
    assert "| hidden word |" in card and "fill-mask" in card
    for name in ("loss.png", "attention.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100 and name in card
    assert verify(out).difference <= 1e-5
    AutoModelForMaskedLM.from_pretrained(out / "model")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["whole-word", "span", "nsp", "roberta", "modernbert"])
def test_every_preset_trains(preset: str, tmp_path: Path) -> None:
    config = tiny(tmp_path, preset)
    nothing = replace(config.eval, labelled=DataConfig(source=""), seeds=0, classic=False)
    bert.main(replace(config, eval=nothing))
    assert verify(config.train.out).difference <= 1e-5


def captured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `fit` is called with; it ends the run there."""
    calls: list[Any] = []

    def fit(*arguments: Any) -> None:
        calls.extend(arguments)
        raise ZeroDivisionError

    monkeypatch.setattr(bert, "fit", fit)
    return calls


def without_probes(config: bert.Config, data: DataConfig) -> bert.Config:
    return replace(config, data=data, eval=replace(config.eval, labelled=DataConfig(source="")))


def test_every_text_of_a_row_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = captured(monkeypatch)
    table = tmp_path / "pairs.jsonl"
    table.write_text("".join(json.dumps({"one": f"The king {i}.", "two": f"A sailor {i}."}) + "\n" for i in range(30)))
    data = DataConfig(source=str(table), text_column="one,two")
    with pytest.raises(ZeroDivisionError):
        bert.main(without_probes(tiny(tmp_path), data))
    task, rows = calls[:2]
    read = " ".join(task.tokenizer.decode(ids) for ids in rows.input_ids)
    assert read.count("king") == read.count("sailor") == 27


def test_too_short_for_pairs_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = captured(monkeypatch)
    config = tiny(tmp_path, "nsp")
    for name, held_out in (("test", [".", "the king"]), ("valid", [".", "two of them", "then three"])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in held_out))
    source = write_texts(tmp_path / "train.jsonl")
    source.write_text(source.read_text() + json.dumps({"text": ","}) + "\n")
    (tmp_path / "texts.jsonl").unlink()
    data = DataConfig(source=str(tmp_path), test_split="test")
    with pytest.raises(ValueError, match="Of 2 documents fewer than two are long enough for two segments"):
        bert.main(without_probes(config, data))
    assert calls == []
    with pytest.raises(ZeroDivisionError):
        bert.main(without_probes(config, replace(data, test_split="validation")))
    assert "Too short for pairs: 1 documents, and 1 held-out ones" in capsys.readouterr().out


def test_documents_to_judge_by_are_kept_from_training(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    probes = prepare(config.eval, bert.load(config.data), 24)
    other = bert.load(replace(config.data, split_seed=1))  # split in another way, so it trains on some of them
    assert probes.topics is not None
    barred = probes.topics.held_out
    texts = {row[0] for row in other.train.texts}
    assert texts & barred and not {row[0] for row in without(other.train, barred).texts} & barred
    assert not {line for text in barred for line in text.split("\n")} - set(probes.topics.test)
    with pytest.raises(ValueError, match=r"eval.passages is 3"):
        EvalConfig(passages=3)


def test_what_is_past_the_length_is_asked_of_nobody(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    data = bert.load(config.data)
    tokenizer = bert.build_tokenizer(config.tokenizer, [row[0] for row in data.train.texts], 24)
    probes = prepare(config.eval, data, 8)
    read = as_read(probes, tokenizer)
    assert probes.capitals and read.capitals and read.cut > 0
    for before, after in zip(probes.capitals, read.capitals, strict=True):
        _, known = word_layers(build_model(config.model, tokenizer), tokenizer, before.texts, 8)
        assert np.array_equal(after.asked, before.asked & known) and after.asked.sum() < before.asked.sum()
    assert f"among {int(read.capitals[1].asked.sum()):,} words" in explain(read, {})
    assert "are cut at the 8 tokens" in explain(read, {}) and "are cut" not in explain(probes, {})


@pytest.mark.parametrize(
    ("labelled", "why"),
    [
        ({"label_column": ""}, "gives 0 classes"),
        ({"label_column": "topic", "text_column": "text,topic"}, "2 texts a row"),
    ],
)
def test_labels_that_cannot_be_probed_are_said(labelled: dict[str, str], why: str, tmp_path: Path) -> None:
    config = tiny(tmp_path)
    wrong = replace(config.eval, labelled=replace(config.data, **labelled))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=why):
        prepare(wrong, bert.load(config.data), 24)


def test_nothing_held_out_is_said_before_training(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    with pytest.raises(ValueError, match=r"raise data\.held_out"):
        bert.main(without_probes(config, replace(config.data, held_out=0)))


def test_the_bound_has_the_shape_of_the_checkpoint(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    texts = [row[0] for row in bert.load(config.data).train.texts]
    loaded = build_model(config.model, bert.build_tokenizer(config.tokenizer, texts, 24))
    new = new_weights(loaded)
    assert new.config.hidden_size == 16 and type(new) is type(loaded)
    trained = [[weight.requires_grad for weight in model.parameters()] for model in (new, loaded)]
    assert trained[0] == trained[1] and not all(trained[0])
    assert not new.get_input_embeddings().weight.equal(loaded.get_input_embeddings().weight)


def test_scores_by_hand() -> None:
    guesses, labels = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    assert f1(guesses, labels) == 0.5 and f1(np.zeros(4, int), np.zeros(4, int)) == 0.0
    said = by_word(["a", "a", "a", "b"], np.array([1, 1, 0, 1]), ["a", "b", "c"])
    assert said.tolist() == [1, 1, 0]


def test_presets() -> None:
    assert read_options(bert.PRESETS, "", []) == bert.PRESETS["modernbert"]
    assert read_options(bert.PRESETS, "", ["span"]).masks.unit == "span"
    assert read_options(bert.PRESETS, "", ["paper", "--data.source", "x"]).model.layers == 12
