"""The code search recipe from options to a card, on a file of pairs made here."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset
from PIL import Image

from modalities.text.backbones import ModelConfig
from modalities.text.code_text import CodeTextConfig
from modalities.text.config import DataConfig
from modalities.text.tokenizer import TokenizerConfig
from recipes import code_text
from recipes.code_text_measure import EvalConfig, pools
from recipes.run import read_options
from trainers.config import TrainConfig
from trainers.hub.check import verify

VERBS = ("open", "close", "count", "remove", "print", "sort")
THINGS = ("file", "list", "word", "thread", "cache", "user")


def tiny(folder: Path) -> code_text.Config:
    pairs = [(verb, thing) for verb in VERBS for thing in THINGS]
    Dataset.from_dict(
        {
            "docstring": [f"This will {verb} the {thing} for you." for verb, thing in pairs],
            "code": [f"def {verb}_{thing}(x):\n    x.{thing}.{verb}()\n    return x" for verb, thing in pairs],
        }
    ).to_parquet(folder / "pairs.parquet")
    return code_text.Config(
        data=DataConfig(source=str(folder / "pairs.parquet"), text_column="docstring,code", held_out=0.25),
        tokenizer=TokenizerConfig(vocabulary=120),
        model=ModelConfig(width=16, layers=1, heads=2, feed_forward=32, length=24),
        task=CodeTextConfig(query_length=16, code_length=24),
        train=TrainConfig(
            out=folder / "out", batch_size=8, epochs=0, steps=12, lr=3e-3, log_every=4, evaluate_every=6, tracker="none"
        ),
        eval=EvalConfig(seeds=2),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> code_text.Config:
    config = tiny(tmp_path_factory.mktemp("code"))
    code_text.main(config)
    return config


def test_leaves_a_table_a_card_and_a_model_for_stock_classes(finished: code_text.Config) -> None:
    out = finished.train.out
    results = json.loads((out / "results.json").read_text())
    assert set(results["baselines"]) == {"random initialisation", "TF-IDF"}
    assert len(results["baselines"]["random initialisation"]["mrr"]) == 2
    assert {"mrr", "r10", "back_mrr", "nameless_mrr"} <= results["metrics"].keys()
    # The held-out functions share their words with the docstrings, so that counting words is no guessing.
    assert results["baselines"]["TF-IDF"]["mrr"] > 0.9
    card = (out / "README.md").read_text()
    assert "SentenceTransformer" in card and "rank of its function" in card and "`def " in card
    assert "every function is called f" in card and "first 16 tokens of a docstring and 24 of code" in card
    assert "No module" not in card
    with Image.open(out / "loss.png") as picture:
        assert min(picture.size) > 150
    with pytest.raises(ValueError, match=r"hidden_names was 0\.5 and is 0\.0"):
        code_text.main(replace(finished, task=replace(finished.task, hidden_names=0.0)))


@pytest.mark.slow
def test_a_stranger_reads_it(finished: code_text.Config) -> None:
    assert verify(finished.train.out).difference <= 1e-5


def test_what_is_wrong_is_said_first(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    with pytest.raises(ValueError, match=r"model\.length 8 is too short for texts of 24 tokens"):
        replace(config, model=replace(config.model, length=8, start_from="a checkpoint"))
    with pytest.raises(ValueError, match=r"eval\.seeds is -1"):
        EvalConfig(seeds=-1)
    with pytest.raises(ValueError, match="gives 1 texts a row; name two"):
        code_text.main(replace(config, data=replace(config.data, text_column="code")))


def test_a_thousand_candidates_at_most() -> None:
    assert [len(pool) for pool in pools(983)] == [983]
    assert [len(pool) for pool in pools(2500)] == [1000, 1000]
    assert len({place for pool in pools(2500) for place in pool.tolist()}) == 2000


def test_presets() -> None:
    assert read_options(code_text.PRESETS, "", []) == code_text.PRESETS["laptop"]
    assert read_options(code_text.PRESETS, "", ["paper", "--data.source", "x"]).model.width == 768
