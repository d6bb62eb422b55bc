"""The ELECTRA recipe from options to a card, on files made here."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modalities.text.backbones import ModelConfig
from modalities.text.config import DataConfig
from modalities.text.electra import PAPER, ElectraConfig
from modalities.text.tokenizer import TokenizerConfig
from recipes import electra
from recipes.run import read_options
from recipes.text_measure import EvalConfig
from trainers.config import TrainConfig
from trainers.hub.check import verify

WHO = ("the king", "a prophet", "my brother", "Moses", "David", "the wind")
DID = ("went to", "saw", "built", "loved", "crossed", "heard")


def write_texts(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    folder.mkdir()
    for number in range(30):
        lines = (f"{draw.choice(WHO)} {draw.choice(DID)} {draw.choice(WHO)} in Jerusalem." for _ in range(12))
        (folder / f"{number}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("electra")
    out = tmp_path / "out"
    electra.main(
        electra.Config(
            data=DataConfig(source=str(write_texts(tmp_path / "texts"))),
            tokenizer=TokenizerConfig(vocabulary=120),
            model=ModelConfig(family="electra", width=16, layers=1, heads=2, feed_forward=32, length=24, dropout=0.0),
            electra=ElectraConfig(narrower=2),
            train=TrainConfig(
                out=out, batch_size=8, steps=200, lr=1e-2, log_every=50, evaluate_every=100, tracker="none"
            ),
            eval=EvalConfig(labelled=DataConfig(source=""), seeds=2, words=200),
        )
    )
    return out


def test_leaves_a_table_pictures_a_card_and_two_models(out: Path) -> None:
    results = json.loads((out / "results.json").read_text())
    assert {"random initialisation", "the rarer, the likelier replaced"} <= set(results["baselines"])
    scores = results["metrics"]
    assert 0.05 < scores["replaced_share"] < 0.2 and scores["replaced_auc"] > 0.55
    assert scores["generator_accuracy"] > 0.05  # by guessing, 0.01
    assert scores["replaced_accuracy"] >= 1 - scores["replaced_share"]  # by calling each original
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"generator_loss", "discriminator_loss", "replaced", "found", "accuracy"} <= logged[0].keys()
    card = (out / "README.md").read_text()
    for name in ("replaced.png", "loss.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100 and name in card
    assert "ElectraForPreTraining" in card and 'subfolder="generator"' in card
    assert "trained on 27 documents of texts" in card
    assert (out / "model" / "generator" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_stranger_reads_it(out: Path) -> None:
    assert verify(out).difference <= 1e-5


def test_presets() -> None:
    assert read_options(electra.PRESETS, "", []) == electra.PRESETS["released"]
    assert electra.PRESETS["released"].masks.masked == 0.85
    assert read_options(electra.PRESETS, "", ["paper"]).masks == PAPER and PAPER.masked == 1.0
    assert read_options(electra.PRESETS, "", ["small", "--data.source", "x"]).model.width == 256
