"""Frozen features of texts and words: means over the right tokens, whatever stands beside them."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel

from modalities.text.backbones import build_model
from modalities.text.capitals import capitals
from modalities.text.features import text_layers, word_layers
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from modalities.text.word_offsets import words_of_tokens
from tests.text.examples_bert import LENGTH, model, sentences, tokenizer

TEXTS = ["the cat sees the dog", "the old owl", "today"]


def encoder(family: str = "bert") -> PreTrainedModel:
    torch.manual_seed(0)
    return build_model(model(family), tokenizer(), AutoModelForMaskedLM).eval()


@torch.inference_mode()
def alone(net: PreTrainedModel, text: str) -> torch.Tensor:
    ids = tokenizer()(text, return_tensors="pt")["input_ids"]
    return net.base_model(input_ids=ids).last_hidden_state[0]  # (t, d)


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_features_of_a_text_are_those_it_has_alone(family: str) -> None:
    net = encoder(family)
    found = text_layers(net, tokenizer(), TEXTS, LENGTH)
    assert list(found) == ["embeddings", "layer 1", "layer 2"]
    for row, text in zip(found["layer 2"], TEXTS, strict=True):
        assert np.abs(row - alone(net, text).mean(0).numpy()).max() < 1e-5
        without_marks = alone(net, text)[1:-1].mean(0).numpy()  # the broken twin
        assert np.abs(row - without_marks).max() > 1e-4
    assert np.abs(found["layer 1"] - found["layer 2"]).max() > 1e-3


def test_features_of_words_are_means_over_their_tokens() -> None:
    net, texts = encoder(), [text.split() for text in ["the dogs sees", *TEXTS]]
    found, known = word_layers(net, tokenizer(), texts, LENGTH)
    assert known.all() and len(found["layer 2"]) == sum(map(len, texts))
    pieces = tokenizer()("the dogs sees").word_ids(0)
    assert pieces.count(1) > 1
    places = [place for place, word in enumerate(pieces) if word == 1]
    states = alone(net, "the dogs sees")
    assert np.abs(found["layer 2"][1] - states[places].mean(0).numpy()).max() < 1e-5
    assert np.abs(found["layer 2"][1] - states[places[0]].numpy()).max() > 1e-4  # the first token alone
    last = alone(net, "today")[1].numpy()
    assert np.abs(found["layer 2"][-1] - last).max() < 1e-5  # order kept though batches go by length


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_words_are_read_as_they_stand_in_their_text(kind: Any) -> None:
    text = build_tokenizer(TokenizerConfig(kind, 400 if kind == "bpe" else 60), sentences(50), LENGTH)
    torch.manual_seed(0)
    net = build_model(model("bert"), text).eval()
    words = [["the", "cat", "sees", "it"], ["owl"]]
    found, known = word_layers(net, text, words, LENGTH)
    assert known.all()
    ids = text("the cat sees it")
    states = net(input_ids=torch.tensor([ids["input_ids"]])).last_hidden_state[0]
    for word in range(4):
        here = [place for place, number in enumerate(ids.word_ids()) if number == word]
        assert np.abs(found["layer 2"][word] - states[here].detach().mean(0).numpy()).max() < 1e-5
    split = text(words[0], is_split_into_words=True)  # the broken twin: every word as if it began a text
    assert (split["input_ids"] != ids["input_ids"]) == (kind == "bpe")


@pytest.mark.parametrize("offsets", [[(0, 1), (2, 2), (2, 3), (4, 5)], [(0, 1), (1, 2), (2, 3), (3, 5)]])
def test_a_space_belongs_to_the_word_that_it_begins(offsets: list[tuple[int, int]]) -> None:
    """Whether the tokenizer counts spaces with the tokens that begin with them or not."""
    marked = [(0, 0), *offsets, (0, 0)]
    assert words_of_tokens(["a", "b", "c"], marked).tolist() == [-1, 0, 1, 1, 2, -1]


def test_words_beyond_the_length_have_no_feature() -> None:
    texts = [" ".join(sentences(3)).split(), ["the", "cat"]]
    found, known = word_layers(encoder(), tokenizer(), texts, 10)
    assert known.tolist() == [True] * 8 + [False] * 13 + [True] * 2 and len(found["layer 1"]) == 10


def test_capitals_are_asked_of_words_that_begin_nothing() -> None:
    found = capitals(['He met Anna Smith, in Bonn. "Then" he left at 9.\nPaul knew O\'Neil'])
    asked = [word for word, is_asked in zip(found.words, found.asked, strict=True) if is_asked]
    assert asked == ["met", "anna", "smith", "in", "bonn", "left", "at", "knew", "o'neil"]
    assert found.labels[found.asked].tolist() == [0, 1, 1, 0, 1, 0, 0, 0, 1]
    assert all(word == word.lower() for word in found.words)  # the answer stands nowhere
    assert len(found.texts) == 2


def test_long_lines_become_passages_and_their_words_stay_in_order() -> None:
    line = "The " + " ".join(f"w{k} King" for k in range(50))
    found = capitals([line], longest=8)
    assert max(map(len, found.texts)) == 8 and found.words == line.lower().split()
    assert found.asked.sum() == 100 and found.labels[found.asked].sum() == 50
