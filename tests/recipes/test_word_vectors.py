"""The recipes of word vectors at a size that takes seconds: on sentences of a small grammar."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from modalities.text.config import DataConfig
from modalities.text.vocabulary import VocabularyConfig
from recipes import two_translations, word_vectors
from recipes.word_vectors_measure import EvalConfig, ppmi
from trainers.hub.check import verify

WHO = ("king", "queen", "man", "woman", "cat", "dog", "tiger", "car")
DID = ("saw", "loved", "heard", "left")


def sentences(count: int) -> list[str]:
    draw = np.random.default_rng(0)
    return [f"the {draw.choice(WHO)} {draw.choice(DID)} the {draw.choice(WHO)} of day {n}" for n in range(count)]


@pytest.fixture
def text(tmp_path: Path) -> DataConfig:
    (tmp_path / "text.txt").write_text("\n".join(sentences(300)))
    return DataConfig(source=str(tmp_path / "text.txt"), unit="line", held_out=0)


@pytest.mark.parametrize("preset", ["skip-gram", "glove"])
def test_a_run_leaves_a_table_a_model_and_a_card(preset: str, text: DataConfig, tmp_path: Path) -> None:
    config = word_vectors.PRESETS[preset]
    train = replace(config.train, out=tmp_path / "run", epochs=2, batch_size=8, tracker="none", evaluate_every=0)
    word_vectors.main(
        replace(config, data=text, train=train, words=VocabularyConfig(), eval=EvalConfig(seeds=1, shown="king,nobody"))
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {"random initialisation", "PPMI and SVD"} == set(results["baselines"])
    assert -1 <= results["metrics"]["wordsim"] <= 1  # tiger and cat, car and ... are in WordSim-353
    assert verify(tmp_path / "run").difference == 0
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| king | " in card and "nobody" not in card
    assert all((tmp_path / "run" / name).stat().st_size > 5000 for name in ("words.png", "loss.png"))


def test_two_texts_are_mapped_onto_each_other(tmp_path: Path) -> None:
    lines = [json.dumps({"one": text, "two": text.replace("the", "ye")}) for text in sentences(300)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    config = two_translations.Config(
        data=DataConfig(source=str(tmp_path / "pairs.jsonl"), text_column="one,two", held_out=0)
    )
    train = replace(config.train, out=tmp_path / "run", epochs=2, batch_size=8, tracker="none")
    two_translations.main(replace(config, train=train, seeds=1))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {"random vectors", "not mapped"} == set(results["baselines"])
    assert 0 <= results["metrics"]["csls_1"] <= results["metrics"]["csls_5"] <= 1


def test_ppmi_by_hand() -> None:
    counts = csr_array(np.array([[0.0, 3.0, 1.0], [3.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    found = ppmi(counts, power=1.0).toarray()
    # p(0, 1) = 3/8, p(0) = 4/8, p(1) = 3/8: twice as often as by chance.
    assert found[0, 1] == pytest.approx(np.log(2), abs=1e-12) and found[1, 1] == 0
    assert ppmi(counts).toarray()[0, 2] < found[0, 2]  # smoothing takes from the rare
