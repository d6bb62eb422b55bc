"""The fine-tuning recipe, small: every question is learnt, measured, published and told of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modalities.text.backbones import ModelConfig
from modalities.text.config import DataConfig
from modalities.text.tokenizer import TokenizerConfig
from recipes.finetune_text import PRESETS, Config, main
from recipes.finetune_text_measure import ask, baselines, measure
from trainers.hub.check import verify

ANIMALS = ["cat", "dog", "fox", "owl"]


def table(folder: Path) -> Path:
    """Sentences of which one word tells the class, and another the score."""
    draw = np.random.default_rng(0)
    lines = [
        {
            "one": f"the {ANIMALS[i % 4]} number {i} sees the old Paris of {draw.integers(1000)}",
            "two": f"the {ANIMALS[(i + (i // 4) % 2) % 4]} number {i} hears the new London of {draw.integers(1000)}",
            "class": ANIMALS[i % 4],
            "same": "animal",
            "alike": float((i // 4) % 2 == 0),
        }
        for i in range(160)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "rows.jsonl"


def config(name: str, out: Path, data: Path, **columns: str) -> Config:
    tiny = ModelConfig(width=16, layers=1, heads=2, feed_forward=32, length=32, dropout=0.0)
    default = PRESETS[name]
    return replace(
        default,
        rows=80,
        data=DataConfig(source=str(data), held_out=0.25, **columns),  # type: ignore[arg-type]
        tokenizer=TokenizerConfig(vocabulary=150),
        model=tiny,
        train=replace(default.train, out=out, batch_size=16, epochs=2, lr=3e-3, tracker="none", evaluate_every=5),
    )


COLUMNS: dict[str, dict[str, str]] = {
    "classification": {"text_column": "one", "label_column": "class"},
    "regression": {"text_column": "one,two", "score_column": "alike"},
    "tokens": {"text_column": "one"},
}


def slow(*names: str) -> list[Any]:
    """One run is enough of every day."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


SCORE = {"classification": "accuracy", "regression": "spearman", "tokens": "capitals"}


@pytest.mark.parametrize("name", ["classification", *slow("regression", "tokens")])
def test_a_run_leaves_a_model_that_strangers_can_load(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = table(tmp_path)
    first = config(name, tmp_path / "first", data, **COLUMNS[name])
    main(first)
    assert "begins from new weights" in capsys.readouterr().out
    results = json.loads((tmp_path / "first" / "results.json").read_text())
    assert SCORE[name] in results["metrics"] and "from new weights" not in results["baselines"]
    second = replace(
        first,
        model=replace(first.model, start_from=str(tmp_path / "first" / "model")),
        train=replace(first.train, out=tmp_path / "second"),
    )
    main(second)
    assert "begins from new weights" not in capsys.readouterr().out
    results = json.loads((tmp_path / "second" / "results.json").read_text())
    assert SCORE[name] in results["metrics"] and len(results["baselines"]["from new weights"][SCORE[name]]) == 1
    assert (tmp_path / "second" / "loss.png").exists()
    card = (tmp_path / "second" / "README.md").read_text()
    assert "1810.04805" in card and str(tmp_path) not in card.split("---")[1]
    if name == "regression":
        assert verify(tmp_path / "second").difference < 1e-5


def test_learning_is_measured_on_rows_that_were_not_learnt_from(tmp_path: Path) -> None:
    cfg = config("classification", tmp_path, table(tmp_path), **COLUMNS["classification"])
    question = ask("classification", cfg.data, 80)
    assert (len(question.train), len(question.test)) == (80, 40)
    assert not {row[0] for row in question.train.texts} & {row[0] for row in question.test.texts}
    common, counted = (row.metrics for row in baselines(question))
    assert common["accuracy"] <= 0.5 and counted["accuracy"] == 1  # a word says it all


def test_documents_are_cut_into_lines_only_where_packages_carry_them(tmp_path: Path) -> None:
    rows = [{"text": f"Amen.\nAnd line {i}", "label": "ab"[i % 2]} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = ask("classification", DataConfig(source=str(tmp_path / "rows.jsonl"), label_column="label"), 80)
    assert sum(found.at_hand) == 40 and all("\n" in texts[0] for texts in found.train.texts)
    found = ask("classification", DataConfig(source="bible"), 10**6)
    assert min(len(texts[0].split()) for texts in found.train.texts) < 4  # nothing is dropped for being short
    assert found.at_hand == (len(found.train), len(found.test))
    assert not any("\n" in texts[0] for texts in found.train.texts)


def test_words_behind_the_end_of_what_is_read_count_as_wrong(tmp_path: Path) -> None:
    cfg = config("tokens", tmp_path, table(tmp_path), **COLUMNS["tokens"])
    question = ask("tokens", cfg.data, 80)

    class Sure:
        """A task that knows every answer, of what it may read."""

        def __init__(self, length: int) -> None:
            from modalities.text.tokenizer import build_tokenizer

            tokenizer = build_tokenizer(cfg.tokenizer, question.texts(), length)
            self.collate = question.collate(tokenizer, None, length)  # type: ignore[arg-type]

    def known(length: int, monkeypatch: Any) -> dict[str, float]:
        monkeypatch.setattr("recipes.finetune_text_measure.answers", lambda _, batch: batch["labels"].clamp_min(0))
        return measure(None, question, Sure(length).collate)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        assert known(60, patch)["capitals"] == 1
        assert known(8, patch)["capitals"] < 0.5


@pytest.mark.parametrize(
    ("kind", "columns", "message"),
    [
        ("classification", {"text_column": "one"}, "without a class; name the column with data.label_column"),
        ("regression", {"text_column": "one,two"}, "no pairs of texts with a score"),
        ("regression", {"text_column": "one", "score_column": "alike"}, "no pairs of texts with a score"),
        ("classification", {"text_column": "one,two,class", "label_column": "class"}, "gives 3 texts a row"),
        ("classification", {"text_column": "one", "label_column": "same"}, "are of one class"),
    ],
)
def test_data_without_answers_is_refused(kind: Any, columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        ask(kind, DataConfig(source=str(table(tmp_path)), held_out=0.25, **columns), 80)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="rows is 9"):
        Config(rows=9)
