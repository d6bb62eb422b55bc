"""The recipes of word vectors at a size that takes seconds: on sentences of a small grammar."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from evaluation.word_similarity import word_similarity
from evaluation.word_vectors import NamedVectors
from modalities.text.config import DataConfig
from modalities.text.vocabulary import VocabularyConfig
from modalities.text.word_tests import judged_pairs
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


@pytest.mark.parametrize("preset", ["skip-gram", pytest.param("glove", marks=pytest.mark.slow)])
def test_a_run_leaves_a_table_a_model_and_a_card(preset: str, text: DataConfig, tmp_path: Path) -> None:
    config = word_vectors.PRESETS[preset]
    train = replace(config.train, out=tmp_path / "run", epochs=2, batch_size=8, tracker="none", evaluate_every=0)
    joined = preset == "skip-gram"
    words = VocabularyConfig(phrase_passes=int(joined))
    word_vectors.main(
        replace(config, data=text, train=train, words=words, eval=EvalConfig(seeds=1, shown="king,nobody"))
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {"random initialisation", "PPMI and SVD"} == set(results["baselines"])
    # Tiger and cat, car and ... are in WordSim-353, and what is written is the score of the vectors that were saved.
    lines = [line.split() for line in (tmp_path / "run" / "model" / "vectors.txt").read_text().splitlines()[1:]]
    saved = NamedVectors.of(np.array([line[1:] for line in lines], dtype=np.float32), [line[0] for line in lines])
    score = word_similarity(saved, judged_pairs("wordsim353"))["spearman"]
    assert results["metrics"]["wordsim"] == pytest.approx(score, abs=1e-9)
    assert verify(tmp_path / "run").difference == 0
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| king | " in card and "nobody" not in card
    assert ("never gives the vector of one (new_york)" in card) == joined
    assert all((tmp_path / "run" / name).stat().st_size > 5000 for name in ("words.png", "loss.png"))


def test_two_texts_are_mapped_onto_each_other(tmp_path: Path) -> None:
    lines = [json.dumps({"one": text, "two": text.replace("the", "ye")}) for text in sentences(300)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    config = two_translations.Config(
        data=DataConfig(source=str(tmp_path / "pairs.jsonl"), text_column="one,two", held_out=0)
    )
    train = replace(config.train, out=tmp_path / "run", epochs=20, batch_size=8, log_every=1, tracker="none")
    two_translations.main(replace(config, train=train, seeds=1))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {"random vectors", "not mapped"} == set(results["baselines"])
    assert set(results["metrics"]) == {"cosine_1", "cosine_5", "csls_1", "csls_5"}
    for name in ("one", "two"):
        logged = [
            json.loads(line)["loss"] for line in (tmp_path / "run" / name / "metrics.jsonl").read_text().splitlines()
        ]
        assert logged[-1] < 0.9 * logged[0]


def test_a_text_that_was_only_turned_is_translated() -> None:
    draw = np.random.default_rng(0)
    source, places = draw.normal(size=(60, 8)), np.stack([np.arange(60)] * 2, axis=1)
    turned = source @ np.linalg.qr(draw.normal(size=(8, 8)))[0]
    found = two_translations.translate(source, turned, places[:30], places[30:])
    assert found == {"cosine_1": 1.0, "cosine_5": 1.0, "csls_1": 1.0, "csls_5": 1.0}
    assert two_translations.translate(source, draw.normal(size=(60, 8)), places[:30], places[30:])["csls_5"] < 0.5


def test_ppmi_by_hand() -> None:
    counts = csr_array(np.array([[0.0, 3.0, 1.0], [3.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    found = ppmi(counts, power=1.0).toarray()
    # p(0, 1) = 3/8, p(0) = 4/8, p(1) = 3/8: twice as often as by chance.
    assert found[0, 1] == pytest.approx(np.log(2), abs=1e-12) and found[1, 1] == 0
    assert ppmi(counts).toarray()[0, 2] < found[0, 2]  # smoothing takes from the rare
