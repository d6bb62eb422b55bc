"""The sentence recipe's methods on neighbours and views, and what it fits behind them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from modalities.text.augment import EDACollate, EDAConfig
from modalities.text.rows import Rows, documents
from modalities.text.sentence_encoder import SentenceTask
from recipes import sentences_post
from recipes.sentences_measure import EvalConfig
from recipes.sentences_post import Whitened, post_process, published_encode
from recipes.sentences_tasks import PRESETS, Config, build_collate, build_task, encoder_of, identity, training_rows
from tests.text.examples_neighbours import LENGTH, SENTENCES, encoder, tokenizer
from trainers.config import TrainConfig

OURS = ["quick-thought", "skip-thought", "is-bert", "cert", "eda", "cutoff"]
DOCUMENTS = documents([". ".join(text.capitalize() for text in SENTENCES[:6]) + ".", "Short. " + SENTENCES[7] + "."])


def tiny(name: str, **options: Any) -> Config:
    config = PRESETS[name]
    return replace(config, model=replace(config.model, length=LENGTH), **options)


@pytest.mark.parametrize("name", OURS)
def test_presets_make_rows_batches_and_a_loss(name: str) -> None:
    config, rows = tiny(name), DOCUMENTS
    if name == "cert":  # which reads two translations
        rows = documents(SENTENCES[:6])
        rows = replace(rows, texts=[[text, text + " again"] for [text] in rows.texts])
    found = training_rows(config, rows)
    columns = {"quick-thought": 2, "skip-thought": 3, "cert": 2}.get(name, 1)
    assert all(len(texts) == columns for texts in found.texts)
    task = build_task(config, encoder(), tokenizer()).train()
    collate = build_collate(config, tokenizer())
    assert isinstance(collate, EDACollate) == (name == "eda")
    out = task(collate(found.__getitems__(list(range(4))), np.arange(4, dtype=np.uint64)))
    assert torch.isfinite(out["loss"])


def test_neighbours_stay_within_their_document() -> None:
    found = training_rows(tiny("skip-thought"), DOCUMENTS)
    assert len(found) == 4 and found.texts[0][1] == found.texts[1][0]  # six sentences; those of the other are too few
    three = replace(documents(["a"]), texts=[["a b", "c d", "e f"]])
    assert training_rows(tiny("skip-thought"), three) is three
    with pytest.raises(ValueError, match="3 texts in a row; give documents, or 2 sentences"):
        training_rows(tiny("quick-thought"), three)


def test_eda_is_part_of_what_a_run_is() -> None:
    data: Any = SimpleNamespace(fingerprint="same")
    config = tiny("eda")
    one, other = (
        identity(replace(config, eda=EDAConfig(share=share)), data, frozenset(), tokenizer()) for share in (0.1, 0.2)
    )
    assert one != other
    barred = (identity(config, data, frozenset({text}), tokenizer()) for text in ("a", "b"))
    assert next(barred) != next(barred)  # as many, but others


def task_and_rows() -> tuple[SentenceTask, Rows]:
    torch.manual_seed(0)
    return SentenceTask(encoder(), tokenizer(), LENGTH).eval(), documents(SENTENCES)


def run_in(folder: Path) -> Any:
    return SimpleNamespace(
        out=folder, main=True, accelerator=SimpleNamespace(device=torch.device("cpu"), num_processes=1)
    )


def test_whitening_is_what_is_published(tmp_path: Path) -> None:
    task, rows = task_and_rows()
    config = tiny("eda", eval=EvalConfig(post="whitening", dimensions=4))
    post = post_process(config, task, rows, {}, run_in(tmp_path))
    assert post is not None and post.whitening is not None
    tokens = tokenizer()(SENTENCES, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        vectors = Whitened(task.published(), post.whitening)(**inputs)["sentence_embedding"].numpy()
    assert published_encode(task, post)(SENTENCES).shape == (11, 4)
    assert vectors.shape == (11, 4) and abs(vectors - post.encode(SENTENCES)).max() < 1e-4
    assert abs(np.cov(vectors, rowvar=False, bias=True) - np.eye(4)).max() < 1e-3
    assert post_process(tiny("eda"), task, rows, {}, run_in(tmp_path)) is None


def test_a_flow_is_fitted_and_lies_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences_post, "_FLOW_STEPS", 2)
    task, rows = task_and_rows()
    train = TrainConfig(out=tmp_path, tracker="none", batch_size=64, bucket_window=4)  # more than the vectors
    config = tiny("eda", eval=EvalConfig(post="flow"), train=train)
    post = post_process(config, task, rows, {}, run_in(tmp_path))
    assert post is not None and post.whitening is None
    found = post.encode(SENTENCES)
    assert found.shape == (11, 16) and abs(found - encoder_of(task)(SENTENCES)).max() > 0.1
    assert (tmp_path / "flow" / "model" / "normalizing_flow.py").exists()
