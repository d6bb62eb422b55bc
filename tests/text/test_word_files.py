"""What a run on words leaves behind, read by others: gensim and transformers, in processes without this project."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modalities.text.vocabulary import Vocabulary
from modalities.text.word2vec import Word2Vec, Word2VecConfig
from modalities.text.word2vec_format import write_binary, write_text
from trainers.hub.check import verify, write_check
from trainers.publish import files_to_upload

WORDS = ("the", "new_york", "ünïcode", "日本", "42", "it")
READ = """
import json, sys
from gensim.models import KeyedVectors
for name in ("vectors.txt", "vectors.bin"):
    found = KeyedVectors.load_word2vec_format(sys.argv[1] + "/" + name, binary=name.endswith("bin"))
    print(json.dumps([found.index_to_key, found.vectors.tolist()]))
"""


@pytest.fixture
def task() -> Word2Vec:
    torch.manual_seed(0)
    return Word2Vec(Vocabulary(WORDS, np.array([60, 50, 40, 30, 20, 10])), Word2VecConfig(width=7))


def test_vectors_may_be_published(task: Word2Vec, tmp_path: Path) -> None:
    task.save(tmp_path / "model")
    (tmp_path / "README.md").write_text("a card")
    assert {"vectors.bin", "vectors.txt"} <= files_to_upload(tmp_path).keys()


def read_by_gensim(folder: Path) -> list[tuple[list[str], np.ndarray]]:
    command = [sys.executable, "-I", "-c", READ, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(words, np.array(vectors, dtype=np.float32)) for words, vectors in found]


def test_gensim_reads_the_same_vectors(task: Word2Vec, tmp_path: Path) -> None:
    task.save(tmp_path)
    for words, vectors in read_by_gensim(tmp_path):
        assert tuple(words) == WORDS
        assert np.array_equal(vectors, task.vectors())
    task.encoder.embedding.weight.data.mul_(1 + 1e-6)  # the broken twin: other vectors than were saved
    assert not np.array_equal(vectors, task.vectors())


def test_white_space_in_a_word_does_not_break_the_files(tmp_path: Path) -> None:
    vectors = np.array([[1.5, -2.0], [1e-30, 3.4e38]], dtype=np.float32)
    write_text(tmp_path / "vectors.txt", ["new york\u00a0city", "b"], vectors)
    write_binary(tmp_path / "vectors.bin", ["new york\u00a0city", "b"], vectors)
    for words, found in read_by_gensim(tmp_path):
        assert words == ["new_york_city", "b"] and np.array_equal(found, vectors)


def test_the_model_loads_where_this_project_is_not(task: Word2Vec, tmp_path: Path) -> None:
    task.save(tmp_path / "model")
    inputs = {"input_ids": torch.tensor([[0, 1, 6], [5, 2, 3]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    write_check(tmp_path, task.export(), inputs, {"model": "AutoModel", "processor": "AutoTokenizer"})
    assert verify(tmp_path).difference == 0
    task.encoder.embedding.weight.data.add_(0.01)
    task.save(tmp_path / "model")  # the broken twin: another model beside the same check
    with pytest.raises(ValueError, match="another last_hidden_state"):
        verify(tmp_path)


def test_the_tokenizer_cuts_texts_as_the_training_data_was_cut(task: Word2Vec) -> None:
    found = task.tokenizer("The NEW_YORK, it's  42日本 日本!", return_tensors="pt")["input_ids"][0].tolist()
    unknown = len(WORDS)
    assert found == [0, 1, 5, unknown, unknown, 3]


def test_features_are_the_mean_of_the_known_words(task: Word2Vec) -> None:
    batch = task.tokenizer(["the it unheard", "ünïcode"], padding=True, return_tensors="pt")
    vectors = task.vectors()
    wanted = np.stack([(vectors[0] + vectors[5]) / 2, vectors[2]])
    assert task.encode(dict(batch)).detach().numpy() == pytest.approx(wanted, abs=1e-7)
