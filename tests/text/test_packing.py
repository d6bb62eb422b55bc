"""Packed rows: every token once, in order, and every document as if it were alone."""

import logging
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from modalities.text.backbones import ModelConfig, build_config
from modalities.text.packing import Packed, pack, packed_inputs, same_document
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

WORDS = ["the", "light", "was", "good", "and", "day", "night", "were", "gathered", "unto", "waters", "regathering"]
LENGTH = 32


def document(words: int, seed: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


TEXTS = [document(n, seed) for seed, n in enumerate((3, 1, 90, 12, 1, 1, 25, 40, 7, 2))]
TEXTS[4:4] = ["", " \n"]  # without a token
TOKENIZERS: dict[str, Any] = {
    cfg.kind: build_tokenizer(cfg, TEXTS, LENGTH)
    for cfg in (TokenizerConfig("wordpiece", 60), TokenizerConfig("bpe", 300), TokenizerConfig("unigram", 60))
}


def encoded(tokenizer: Any, text: str) -> Any:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)


def pieces(packed: Packed) -> list[tuple[list[int], list[int]]]:
    """Tokens and words of each piece, row by row."""
    found = []
    for row in (packed[i] for i in range(len(packed))):
        for number in range(1, row["segments"].max() + 1):
            here = row["segments"] == number
            assert (np.diff(np.flatnonzero(here)) == 1).all()
            assert row["position_ids"][here].tolist() == list(range(here.sum()))
            found.append((row["input_ids"][here].tolist(), row["words"][here].tolist()))
    return found


@pytest.mark.parametrize("length", [3, 4, 5, 9, 16, 33, 1000])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_between_marks_every_token_is_there_in_order(kind: str, length: int) -> None:
    tokenizer = TOKENIZERS[kind]
    packed = pack(TEXTS, tokenizer, length)
    found: list[int] = []
    for ids, words in pieces(packed):
        assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id and len(ids) > 2
        assert words[0] == words[-1] == -1 and min(words[1:-1]) >= 0
        found += ids[1:-1]
    assert found == [i for text in TEXTS for i in encoded(tokenizer, text)["input_ids"]]
    assert packed.tokens == len(found) + 2 * len(pieces(packed)) == (packed.segments > 0).sum()


@pytest.mark.parametrize("length", [1, 2, 9, 16, 33, 1000])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_causal_row_has_documents_that_begin_and_end(kind: str, length: int) -> None:
    tokenizer = TOKENIZERS[kind]
    packed = pack(TEXTS, tokenizer, length, causal=True)
    found = [i for ids, _ in pieces(packed) for i in ids]
    wanted = [encoded(tokenizer, text)["input_ids"] for text in TEXTS]
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert found == [i for ids in wanted if ids for i in [begin, *ids, end]]
    assert packed.tokens == len(found)


def test_rows_are_wide_and_what_holds_them_is_not() -> None:
    packed = pack(TEXTS, TOKENIZERS["wordpiece"], LENGTH)
    held = [getattr(packed, name) for name in packed[0]]
    assert sum(grid.nbytes for grid in held) == 16 * LENGTH * len(packed)
    assert {row.dtype for row in packed[0].values()} == {np.dtype(np.int64)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_words_are_those_of_the_tokenizer(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    packed = pack(TEXTS, tokenizer, 1000)
    place = 0
    for word_ids in filter(None, (encoded(tokenizer, text).word_ids() for text in TEXTS)):
        words = packed.words[0][place + 1 : place + 1 + len(word_ids)]
        assert words.tolist() == [word + words[0] for word in word_ids]
        place += len(word_ids) + 2
    real = packed.words[0][packed.words[0] >= 0]
    assert set(np.diff(real)) <= {0, 1} and real[0] == 0  # no word goes on in the next document
    short = pack(TEXTS, tokenizer, 8)
    assert all(row[row >= 0][0] == 0 and set(np.diff(row[row >= 0])) <= {0, 1} for row in short.words)


def test_rows_are_full_but_for_ends_that_hold_too_little() -> None:
    packed = pack(TEXTS * 20, TOKENIZERS["wordpiece"], 64)
    assert (packed.segments[:-1] == 0).sum(1).max() < 10
    assert packed.tokens / packed.segments.size > 0.95
    padding = packed.segments == 0
    assert (packed.input_ids[padding] == 0).all() and (packed.position_ids[padding] == 0).all()


def test_texts_tokenized_in_parts_are_packed_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pack(TEXTS, TOKENIZERS["bpe"], 16)
    monkeypatch.setattr("modalities.text.packing._AT_ONCE", 50)
    parts = pack(TEXTS, TOKENIZERS["bpe"], 16)
    for name in ("input_ids", "segments", "position_ids", "words", "tokens"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_marks_in_a_text_are_text_and_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = build_tokenizer(TokenizerConfig(vocabulary=80), [*TEXTS, "[SEP]"], 8)
    with caplog.at_level(logging.DEBUG):
        packed = pack(["day [SEP] night [MASK]" * 20], tokenizer, 64)
    assert not caplog.records
    assert (packed.input_ids == tokenizer.sep_token_id).sum() == len(packed)
    assert (packed.input_ids != tokenizer.mask_token_id).all()


@pytest.mark.parametrize(
    ("texts", "length", "causal", "message"),
    [
        (TEXTS, 2, False, "model.length 2 .* at least 3"),
        (TEXTS, 0, True, "model.length 0 .* at least 1"),
        (["", " "], 8, False, "no token; check data.source"),
        ([], 8, False, "no token; check data.source"),
    ],
)
def test_what_cannot_be_packed_is_refused(texts: list[str], length: int, causal: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(texts, TOKENIZERS["wordpiece"], length, causal)


def test_a_tokenizer_without_marks_is_refused(tmp_path: Any) -> None:
    TOKENIZERS["bpe"].save_pretrained(tmp_path)
    tokenizer = build_tokenizer(TokenizerConfig(start_from=str(tmp_path)), [], 8)
    tokenizer.cls_token = None
    pack(TEXTS, tokenizer, 16, causal=True)
    with pytest.raises(ValueError, match="has no cls_token, which packing needs"):
        pack(TEXTS, tokenizer, 16)


FAMILIES = ("bert", "albert", "roberta", "modernbert", "electra", "gpt2", "llama")


def model_of(family: Any, attention: str, head: Any = AutoModel) -> tuple[Any, Any]:
    kind, family = family, family if family in FAMILIES else "roberta"
    tokenizer = TOKENIZERS["bpe" if family == "roberta" else "wordpiece"]
    shape = ModelConfig(family=family, width=16, layers=3, heads=2, feed_forward=32, length=LENGTH, dropout=0.0)
    config = build_config(shape, tokenizer)
    config.tie_word_embeddings = False
    if kind not in FAMILIES:
        config = AutoConfig.for_model(kind, **{k: v for k, v in config.to_dict().items() if k != "model_type"})
    if family == "modernbert":
        config.local_attention = 8  # far less than a row
    torch.manual_seed(0)
    model = head.from_config(config, attn_implementation=attention).double()
    for parameter in model.parameters():  # larger than a new model's, so that whoever is seen matters
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval(), tokenizer


def batch_of(packed: Packed, rows: int = 6) -> dict[str, Tensor]:
    names = ("input_ids", "segments", "position_ids")
    return {name: torch.from_numpy(getattr(packed, name)[-rows:]) for name in names}


def far_from_alone(model: Any, batch: dict[str, Tensor], inputs: dict[str, Any]) -> float:
    """Largest difference of a document's outputs packed and alone."""
    worst = 0.0
    with torch.no_grad():
        together = model(**inputs)[0]
        assert torch.isfinite(together).all()
        for row, segments in enumerate(batch["segments"]):
            for number in range(1, int(segments.max()) + 1):
                here = segments == number
                alone = model(input_ids=batch["input_ids"][row, here][None])[0][0]
                worst = max(worst, float((together[row, here] - alone).abs().max()))
    return worst


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", [*FAMILIES, "xlm-roberta", "camembert"])
def test_packed_outputs_are_those_of_each_document_alone(family: str, attention: str) -> None:
    causal = family in ("gpt2", "llama")
    model, tokenizer = model_of(family, attention)
    batch = batch_of(pack(TEXTS, tokenizer, LENGTH, causal))
    assert (batch["segments"] == 0).any() and (batch["segments"].amax(1) > 1).any()
    inputs = packed_inputs(model, batch)
    # Eager attention of these two has its softmax in fp32, whatever the weights are in.
    rough = attention == "eager" and family in ("modernbert", "llama")
    assert far_from_alone(model, batch, inputs) < (1e-5 if rough else 1e-12)
    blind = inputs | {"attention_mask": torch.ones_like(batch["segments"])}  # the broken twin: positions only
    assert far_from_alone(model, batch, blind) > 1e-3
    lost = inputs | {"position_ids": torch.arange(LENGTH).expand_as(batch["segments"])}  # and: the mask only
    if family not in ("modernbert", "llama"):  # which know only how far apart two tokens are
        with pytest.raises((AssertionError, IndexError)):
            assert far_from_alone(model, batch, lost) < 1e-3


@pytest.mark.parametrize(
    ("head", "family"),
    [
        (AutoModelForMaskedLM, "bert"),
        (AutoModelForMaskedLM, "modernbert"),
        (AutoModelForCausalLM, "gpt2"),
        (AutoModelForCausalLM, "llama"),
    ],
)
def test_models_with_a_head_are_called_alike(head: Any, family: str) -> None:
    model, tokenizer = model_of(family, "sdpa", head)
    batch = batch_of(pack(TEXTS, tokenizer, LENGTH, family in ("gpt2", "llama")))
    assert far_from_alone(model, batch, packed_inputs(model, batch)) < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_padding_give_numbers_and_gradients(family: str) -> None:
    model, _ = model_of(family, "sdpa")
    batch = {name: torch.zeros(2, LENGTH, dtype=torch.long) for name in ("input_ids", "segments", "position_ids")}
    model.train()(**packed_inputs(model, batch))[0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_who_may_look_at_whom() -> None:
    seen = same_document(torch.tensor([[1, 1, 2, 0, 0]]))[0, 0].int().tolist()
    assert seen == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
    back = same_document(torch.tensor([[1, 1, 2, 0, 0]]), causal=True)[0, 0]
    assert all(not back[i, j] for i in range(5) for j in range(i + 1, 5)) and back.diagonal().all()


def test_documents_follow_one_another() -> None:
    segments = pack(TEXTS, TOKENIZERS["wordpiece"], LENGTH).segments
    assert all(b - a in (0, 1) or b == 0 for row in segments for a, b in pairwise(row.tolist()))
