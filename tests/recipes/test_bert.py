"""The BERT recipe from options to a card, on files made here."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForMaskedLM

from modalities.text.backbones import ModelConfig
from modalities.text.config import DataConfig
from modalities.text.tokenizer import TokenizerConfig
from recipes import bert
from recipes.run import read_options
from recipes.text_baselines import by_word
from recipes.text_measure import EvalConfig, f1, prepare, without
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


@pytest.mark.parametrize("preset", ["bert", "albert"])
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


def test_scores_by_hand() -> None:
    guesses, labels = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    assert f1(guesses, labels) == 0.5 and f1(np.zeros(4, int), np.zeros(4, int)) == 0.0
    said = by_word(["a", "a", "a", "b"], np.array([1, 1, 0, 1]), ["a", "b", "c"])
    assert said.tolist() == [1, 1, 0]


def test_presets() -> None:
    assert read_options(bert.PRESETS, "", []) == bert.PRESETS["modernbert"]
    assert read_options(bert.PRESETS, "", ["span"]).masks.unit == "span"
    assert read_options(bert.PRESETS, "", ["paper", "--data.source", "x"]).model.layers == 12
