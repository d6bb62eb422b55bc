"""Vectors of sentences: pooling, and folders that give the same vectors to strangers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modalities.text.collate import TextsCollate
from modalities.text.sentence_encoder import Pooling, SentenceTask, encode_texts, pool
from tests.text.examples_sentences import TEXTS, TINY, batch, encoder, tokenizer
from trainers.hub.check import write_check
from trainers.hub.reload import repeat_check

SENTENCES = [*(text for row in TEXTS for text in row), "", "the " * 40]
STRANGER = """
import sys, json, numpy, torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
model = SentenceTransformer(folder, device="cpu")
numpy.save(sys.argv[3], model.encode(texts))
assert not {"modalities", "trainers", "objectives"} & set(sys.modules), "the project was imported"
assert model.max_seq_length == 12, model.max_seq_length
tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, max_length=12, return_tensors="pt")
with torch.no_grad():
    hidden = AutoModel.from_pretrained(folder).eval()(tokens.input_ids, tokens.attention_mask).last_hidden_state
numpy.save(sys.argv[4], hidden.numpy())
"""


def task(pooling: Pooling = "mean", normalize: bool = False) -> SentenceTask:
    torch.manual_seed(0)
    return SentenceTask(encoder(), tokenizer(), TINY.length, pooling, normalize=normalize).eval()


def test_pooling_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 5.0], [3.0, -1.0], [9.0, 9.0]], [[2.0, 2.0], [4.0, 0.0], [6.0, 4.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    wanted = {
        "mean": [[2.0, 2.0], [4.0, 2.0]],
        "cls": [[1.0, 5.0], [2.0, 2.0]],
        "max": [[3.0, 5.0], [6.0, 4.0]],
        "lasttoken": [[3.0, -1.0], [6.0, 4.0]],
    }
    assert wanted.keys() == set(get_args(Pooling))
    for name, vectors in wanted.items():
        assert pool(hidden, mask, name).tolist() == vectors  # type: ignore[arg-type]
        everywhere = pool(hidden, torch.ones_like(mask), name)  # type: ignore[arg-type]
        assert (everywhere.tolist() == vectors) == (name == "cls")  # the broken twin: padding counts


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_a_sentence_transformer_gives_the_same_vectors(pooling: Pooling, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    ours = task(pooling, normalize=pooling == "mean")
    ours.save(tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu").encode(SENTENCES)
    found = encode_texts(ours.published(), ours.tokenizer, SENTENCES, ours.length)
    assert np.abs(found - theirs).max() < 1e-5
    other = task("max" if pooling == "cls" else "cls")  # the broken twin
    assert np.abs(encode_texts(other.published(), other.tokenizer, SENTENCES, other.length) - theirs).max() > 1e-3


def test_a_stranger_has_the_same_vectors_and_the_root_is_a_plain_model(tmp_path: Path) -> None:
    ours = task()
    ours.save(tmp_path / "model")
    files = [str(tmp_path / name) for name in ("vectors.npy", "hidden.npy")]
    command = [sys.executable, "-P", "-c", STRANGER, str(tmp_path / "model"), json.dumps(SENTENCES), *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = encode_texts(ours.published(), ours.tokenizer, SENTENCES, ours.length)
    assert np.abs(np.load(files[0]) - wanted).max() < 1e-5
    tokens = TextsCollate(tokenizer(), TINY.length).tokens(SENTENCES)
    with torch.no_grad():
        hidden = ours.encoder(**tokens).last_hidden_state
        assert (torch.from_numpy(np.load(files[1])) - hidden).abs().max() < 1e-5


def test_the_check_reads_the_folder_as_strangers_do(tmp_path: Path) -> None:
    ours = task()
    ours.save(tmp_path / "model")
    inputs = TextsCollate(tokenizer(), TINY.length).tokens(SENTENCES[:4])
    classes = {"model": "SentenceTransformer", "processor": "AutoTokenizer"}
    write_check(tmp_path, ours.published(), inputs, classes)

    def repeated() -> dict[str, Any]:  # in this process; the recipe's test goes through one of its own
        return repeat_check(str(tmp_path / "model"), tmp_path / "check.safetensors", classes, "forward")

    answer = repeated()
    assert answer["outputs"]["sentence_embedding"]["difference"] < 1e-5
    assert answer["missing"] == answer["unexpected"] == []
    weights = load_file(tmp_path / "model/model.safetensors")
    weights["embeddings.LayerNorm.weight"][::2] *= 2  # a shift of all alike would be normed away again
    save_file(weights | {"extra": torch.zeros(1)}, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    answer = repeated()
    assert answer["outputs"]["sentence_embedding"]["difference"] > 1e-3
    assert answer["unexpected"] == ["extra"]


def test_vectors_come_in_the_order_of_the_texts() -> None:
    ours = task()
    one_by_one = [encode_texts(ours.published(), ours.tokenizer, [text], ours.length)[0] for text in SENTENCES]
    found = encode_texts(ours.published(), ours.tokenizer, SENTENCES, ours.length, batch=4)
    assert np.abs(found - np.stack(one_by_one)).max() < 1e-5
    assert np.abs(found[::-1] - np.stack(one_by_one)).max() > 1e-3


def test_without_dropout_a_text_is_read_as_it_is_published() -> None:
    ours, given = task(), batch(2)
    found = ours.embed_texts(given, drop=False, times=2)  # (n, 4, d)
    assert found.shape == (8, 4, 16)
    assert torch.equal(found[:, :2], found[:, 2:])
    second = {name: given[name][:, 1] for name in ("input_ids", "attention_mask")}
    assert (found[:, 1] - ours.encode(second)).abs().max() < 1e-5
    dropped = ours.embed_texts(given, drop=True, times=2)
    assert not torch.equal(dropped[:, :2], dropped[:, 2:])


def test_no_pooler_is_trained() -> None:
    assert [name for name, p in task().named_parameters() if p.requires_grad and "pooler" in name] == []
