"""The recipe of sentence vectors, from options to a folder for strangers, on tables made here."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from modalities.text.backbones import ModelConfig
from modalities.text.config import DataConfig
from modalities.text.rows import Rows, documents
from modalities.text.sbert import SBERTConfig
from modalities.text.sources import load
from modalities.text.tokenizer import TokenizerConfig
from recipes import sentences
from recipes.sentences_baselines import supervised
from recipes.sentences_measure import EvalConfig, prepare, without
from recipes.sentences_pretrain import pretrained
from recipes.sentences_tasks import PRESETS, Config, PretrainConfig, form, refuse_early, refuse_lone_rows, training_rows
from trainers.hub.check import verify

WHO = ["the old king", "a young queen", "the blind judge", "one poor farmer", "the last captain", "my second teacher"]
DID = ["walked slowly to", "sailed away from", "wrote a letter about", "dreamt all night of", "sold the gate of"]
WHERE = ["the stone city", "a green island", "the cold river", "the market square", "an empty house"]


def table(path: Path) -> Path:
    """Pairs that mean the same, their chapter, a topic, and a score."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "chapter", "topic", "score"])
        for i, who in enumerate(WHO):
            for did in DID:
                for k, where in enumerate(WHERE):
                    rows.writerow(
                        [f"{who} {did} {where}", f"{where}: {who} {did} it", f"{who} {k}", f"t{k % 2}", i / 5]
                    )
    return path


def tiny(folder: Path, **options: Any) -> Config:
    columns = {"text_column": "a,b", "id_column": "chapter"}
    source = str(table(folder / "pairs.csv"))
    pairs = DataConfig(source=source, label_column="topic", held_out=0.3, **columns)
    scored = DataConfig(source=source, score_column="score", held_out=0.3, **columns)
    base = PRESETS["simcse"]
    default: dict[str, Any] = {
        "data": DataConfig(source=source, text_column="a", id_column="chapter", held_out=0.3),
        "tokenizer": TokenizerConfig(vocabulary=150),
        "model": ModelConfig(width=16, layers=1, heads=2, feed_forward=32, length=24),
        "pretrain": PretrainConfig(window=4, steps=2, batch_size=4),
        "train": replace(base.train, out=folder / "out", steps=6, batch_size=8, evaluate_every=3, tracker="none"),
        "eval": EvalConfig(pairs=pairs, scored=scored, rows=20, seeds=2, supervised_steps=2),
    }
    return replace(base, **default | options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    config = tiny(tmp_path_factory.mktemp("sentences"))
    sentences.main(config)
    return config, config.train.out


def test_leaves_a_table_and_everything_promised(finished: tuple[Config, Path]) -> None:
    _, out = finished
    results = json.loads((out / "results.json").read_text())
    names = {"random initialisation", "before this method", "TF-IDF", "supervised SimCSE"}
    assert names == set(results["baselines"])
    assert len(results["baselines"]["random initialisation"]["sts"]) == 2
    assert {"sts", "sts_pearson", "retrieval_r1", "retrieval_r5", "topic"} <= results["metrics"].keys()
    card = (out / "README.md").read_text()
    for picture in ("loss.png", "similarity.png"):
        with Image.open(out / picture) as image:
            assert min(image.size) > 150 and picture in card
    assert (
        "SimCSE is unsupervised here" in card
        and "random initialisation" in card
        and "SentenceTransformer" in card
        and "2104.08821" in card
    )


def test_a_stranger_reads_it(finished: tuple[Config, Path]) -> None:
    _, out = finished
    assert verify(out).outputs == ("sentence_embedding",)
    model = SentenceTransformer(str(out / "model"), device="cpu")
    assert model.encode(["the old king", ""]).shape == (2, 16) and model.max_seq_length == 24
    assert type(AutoModel.from_pretrained(out / "model")).__name__ == "BertModel"


def test_nothing_judged_is_learnt_from(finished: tuple[Config, Path]) -> None:
    config, _ = finished
    judged = prepare(config.eval)
    assert judged.pairs is not None and len(judged.barred) > 20
    data = load(replace(config.data, held_out=0.0, text_column="a,b"))
    kept = without(data.train, judged.barred)
    assert 0 < len(kept) < len(data.train)
    assert not judged.barred & {text for texts in kept.texts for text in texts}
    assert judged.barred & {text for texts in data.train.texts for text in texts}  # the broken twin


def test_a_line_that_is_barred_goes_and_bars_a_document_only_with_others() -> None:
    rows = documents(["one\ntwo\nthree", "one\ntwo\nfour\n\nfive", "six"])
    assert without(rows, frozenset({"seven"})).texts == rows.texts
    assert without(rows, frozenset({"one"})).texts == [["two\nthree"], ["two\nfour\nfive"], ["six"]]
    assert without(rows, frozenset({"one", "two", "six"})).texts == []


def test_blanks_and_line_breaks_hide_nothing_judged() -> None:
    rows = documents(["one two\nthree", "one two three", "four\n five\nsix", " four ", "seven"])
    assert without(rows, frozenset({" one two \n three", "four "})).texts == [[" five\nsix"], ["seven"]]
    pairs = replace(documents(["a", "b"]), texts=[["seven", "one two\nthree"], ["seven", "eight"]])
    assert without(pairs, frozenset({"one two\nthree"})).texts == [["seven", "eight"]]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_finds_rows_in_what_it_names(name: str, tmp_path: Path) -> None:
    pairs = load(replace(tiny(tmp_path).eval.pairs, label_column="")).train
    texts = documents([". ".join([f"The old king saw ship {i}"] * 2 + ["Then he slept all night."]) for i in range(9)])
    config = PRESETS[name]
    rows = training_rows(config, pairs if config.data.source == "verses" else texts)
    several = {"simcse-supervised": 3, "sbert": 2, "sbert-regression": 2, "quick-thought": 2, "skip-thought": 3}
    assert len(rows) >= 9 and {len(row) for row in rows.texts} == {several.get(name, 2 if name == "cert" else 1)}
    assert None not in {"sbert": rows.labels, "sbert-regression": rows.scores}.get(name, [])


def test_rows_that_a_method_cannot_learn_from_are_said(tmp_path: Path) -> None:
    pairs = tiny(tmp_path).eval.pairs
    found = {}
    for objective in ("classification", "regression"):
        config = replace(tiny(tmp_path), data=replace(pairs, label_column=""), task=SBERTConfig(objective=objective))
        rows = training_rows(config, load(config.data).train)
        found[objective] = {row["label"] if objective == "classification" else row["score"] for row in rows}
    assert found == {"classification": {0, 1}, "regression": {0.0, 0.5, 1.0}}
    supervised = replace(tiny(tmp_path), data=replace(pairs, label_column=""))
    assert all(len(texts) == 3 for texts in training_rows(supervised, load(supervised.data).train).texts)
    config = replace(supervised, data=pairs, task=SBERTConfig(classes=2))
    assert set(training_rows(config, load(pairs).train).labels) == {0, 1}
    alone = replace(config, data=replace(pairs, label_column="", text_column="a"))
    with pytest.raises(ValueError, match="rows of two texts"):
        training_rows(alone, load(alone.data).train)


def test_counting_is_where_it_starts_from(finished: tuple[Config, Path]) -> None:
    config, out = finished
    start = pretrained(replace(config, model=replace(config.model, start_from="x")), [], None, {}, None)  # type: ignore[arg-type]
    assert start.start_from == "x"
    nothing = replace(config, pretrain=PretrainConfig(window=0, steps=0))
    assert pretrained(nothing, [], None, {}, None) == config.model  # type: ignore[arg-type]
    weight = AutoModel.from_pretrained(out / "pretrained" / "model").get_input_embeddings().weight
    weight = weight.detach().numpy()
    assert np.isfinite(weight).all() and weight.std() > 0.1  # of new weights 0.02


def test_lone_rows_are_refused_before_training() -> None:
    lone = replace(PRESETS["simcse"], train=replace(PRESETS["simcse"].train, batch_size=2))
    with pytest.raises(ValueError, match=r"batch_size 2 gives each of 2 processes one row.*make it 4 or more"):
        refuse_lone_rows(lone, 2)
    refuse_lone_rows(lone, 1)
    refuse_lone_rows(replace(lone, task=SBERTConfig()), 2)  # which compares no rows


def test_scores_that_are_no_cosines_are_refused() -> None:
    def asked(scores: list[float]) -> Rows:
        pairs = Rows(np.arange(3), [["a", "b"]] * 3, [None] * 3, list(scores))
        data = DataConfig(source="x", text_column="a,b", score_column="alike")
        return training_rows(replace(PRESETS["sbert-regression"], data=data), pairs)

    assert asked([-1.0, 0.5, 1.0]).scores == [-1.0, 0.5, 1.0]
    with pytest.raises(ValueError, match=r"'alike' has scores from 0 to 5, but .* divide them by 5, say, in the table"):
        asked([0.0, 5.0, 2.5])


def test_what_cannot_work_is_refused_before_training(tmp_path: Path) -> None:
    wide = replace(tiny(tmp_path), eval=EvalConfig(post="whitening", dimensions=17))
    with pytest.raises(ValueError, match="dimensions is 17, but the vectors have 16"):
        refuse_early(wide)
    refuse_early(replace(wide, eval=EvalConfig(post="whitening", dimensions=16)))
    still = replace(wide, model=replace(wide.model, dropout=0.0))
    with pytest.raises(ValueError, match="dropout is 0"):
        form(still, documents(["one"]))
    with pytest.raises(ValueError, match="leaves nothing to learn from"):
        training_rows(still, without(documents(["one"]), frozenset({"one"})))
    pairs = tiny(tmp_path).eval.pairs
    with pytest.raises(ValueError, match="no held-out rows to search"):
        prepare(EvalConfig(pairs=replace(pairs, held_out=0.0)))


def test_pairs_without_neighbours_are_learnt_as_they_are(tmp_path: Path) -> None:
    rows = replace(documents(["a", "b", "c"]), texts=[["a", "A"], ["b", "B"], ["c", "C"]])
    config = tiny(tmp_path)
    assert training_rows(config, rows) is rows
    assert "supervised here" in form(config, rows) and "negative" not in form(config, rows)
    beside = replace(rows, documents=np.zeros(3, dtype=np.int64))
    assert training_rows(config, beside).texts[0] == ["a", "A", "B"]


def test_a_bound_of_too_few_rows_is_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    rows = replace(documents(["a"]), texts=[["a", "A"]])
    judged: Any = SimpleNamespace(training=rows)
    run: Any = SimpleNamespace(say=said.append)
    config = tiny(tmp_path)
    assert supervised(config, config.model, None, judged, {}, run) == []  # type: ignore[arg-type]
    assert "fewer than train.batch_size 8" in said[0]
