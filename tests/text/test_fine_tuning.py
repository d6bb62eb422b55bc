"""Fine-tuning: the heads of every family learn, publish and reload; labels stand at the words they are of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from modalities.text.backbones import ModelConfig
from modalities.text.fine_tuning import PairRegression, SequenceClassification, answers
from modalities.text.labelled import PairCollate, TaggedCollate, TaggedTexts
from tests.text import examples_fine_tuning as examples
from tests.text.examples_fine_tuning import LENGTH, SCORES, TEXTS, model, rows, tokenizer

FAMILIES = ("bert", "albert", "roberta", "modernbert", "electra", "gpt2", "llama")
KINDS: dict[str, Any] = {
    "classes": examples.classification,
    "scores": examples.regression,
    "tokens": examples.tokens,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_each_head(family: str, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task, batch = KINDS[kind](family)
    out = task(batch)
    out["loss"].backward()
    assert torch.isfinite(out["loss"])
    assert [name for name, p in task.named_parameters() if p.requires_grad and p.grad is None] == []
    task.eval().save(tmp_path)
    auto = AutoModelForTokenClassification if kind == "tokens" else AutoModelForSequenceClassification
    again = auto.from_pretrained(tmp_path).eval()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        there, here = again(**inputs).logits, task.encoder(**inputs).logits
    assert (there - here).abs().max() < 1e-5
    assert again.config.id2label == ({0: "score"} if kind == "scores" else task.encoder.config.id2label)
    assert answers(task, batch).shape == batch["labels"].shape


def test_a_checkpoint_is_where_training_starts(tmp_path: Path) -> None:
    task, batch = examples.classification()
    task.save(tmp_path)
    given = ModelConfig(start_from=str(tmp_path), length=LENGTH)
    again = SequenceClassification(given, tokenizer(), ["a", "b", "c"])
    with torch.no_grad():
        assert (task.eval().logits(batch) - again.eval().logits(batch)).abs().max() < 1e-6
        fresh = SequenceClassification(model(), tokenizer(), ["a", "b", "c"]).eval()
        assert (task.logits(batch) - fresh.logits(batch)).abs().max() > 1e-3  # the broken twin
    assert again.encoder.config.id2label == {0: "a", 1: "b", 2: "c"}
    body = task.encoder.base_model
    body.save_pretrained(tmp_path / "body")
    scores = PairRegression(ModelConfig(start_from=str(tmp_path / "body"), length=LENGTH), tokenizer(), SCORES)
    assert torch.equal(
        scores.encoder.base_model.embeddings.word_embeddings.weight, body.embeddings.word_embeddings.weight
    )


def test_a_head_for_other_classes_is_refused(tmp_path: Path) -> None:
    task, _ = examples.classification()
    task.save(tmp_path)
    given = ModelConfig(start_from=str(tmp_path), length=LENGTH)
    with pytest.raises(
        ValueError, match=r"has classifier.bias of shape \(3,\), and \(5,\) is needed; give a checkpoint"
    ):
        SequenceClassification(given, tokenizer(), list("abcde"))


def test_guessing_the_mean_costs_one() -> None:
    task, _ = examples.regression()
    assert isinstance(task, PairRegression)
    last = task.encoder.classifier
    torch.nn.init.zeros_(last.weight)
    batch = PairCollate(tokenizer(), task.encoder, LENGTH)(rows(pairs=True, label=False))
    assert abs(task(batch)["loss"].item() - 1) < 1e-5
    torch.nn.init.zeros_(last.bias)
    assert task(batch)["loss"].item() > 1.1
    with pytest.raises(ValueError, match=r"8 training rows have one score; check data\.score_column"):
        PairRegression(model(), tokenizer(), [2.0] * 8)


@pytest.mark.parametrize(("family", "types"), [("bert", True), ("modernbert", False), ("gpt2", False)])
def test_pairs_are_read_as_one(family: str, types: bool) -> None:
    task, _ = examples.classification(family)
    collate = PairCollate(tokenizer(), task.encoder, LENGTH)
    batch = collate(rows(pairs=True, label=True))
    assert ("token_type_ids" in batch) == types
    assert "token_type_ids" not in collate(rows(pairs=False, label=True))
    text = tokenizer().decode(batch["input_ids"][0], skip_special_tokens=True)
    assert text == f"{TEXTS[0]} {TEXTS[-3]}"
    assert collate.tokens([["fox " * 50, "owl " * 50]])["input_ids"].shape == (1, LENGTH)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_label_stands_at_the_first_token_of_its_word(kind: Any) -> None:
    words = ["watched", "the", ",", "unheard", "of", "greyish", "owl"]
    labels = [3, 1, -100, 4, 1, 5, 9]
    text = tokenizer(kind)
    batch = TaggedCollate(text, 60)([{"words": words, "labels": labels}, {"words": ["a"], "labels": [2]}])
    tokens, found = text.convert_ids_to_tokens(batch["input_ids"][0]), batch["labels"][0].tolist()
    assert [label for label in found if label != -100] == [label for label in labels if label != -100]
    assert found[0] == found[-1] == -100 and batch["labels"][1].tolist().count(-100) == len(found) - 1
    for word, label in zip(words, labels, strict=True):
        if label in (3, 4, 5, 9):
            token = tokens[found.index(label)].strip("▁Ġ")
            assert word.startswith(token) or token == text.unk_token or not token
    cut = TaggedCollate(text, 4)([{"words": words, "labels": labels}])
    assert cut["labels"].shape == (1, 4)


def test_tagged_texts_know_their_lengths() -> None:
    texts = TaggedTexts([["one", "two"], ["three"]], [[0, 1], [1]])
    assert texts.lengths.tolist() == [6, 5] and texts[1] == {"words": ["three"], "labels": [1]}
    assert np.array_equal(texts.lengths, [sum(map(len, texts[i]["words"])) for i in range(len(texts))])
