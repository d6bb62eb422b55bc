"""Code search: names that are hidden, docstrings that are equal, and what the saved folder computes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from modalities.text.code_text import CodeText, CodeTextCollate, CodeTextConfig, without_name
from tests.text.examples_code_text import CFG, PAIRS, batch, code_text, rows, tokenizer


def test_a_function_loses_its_name_everywhere() -> None:
    code = "@cached\nasync def fib(n):\n    fibre = 1\n    return fib(n - 1) + self.fib(n - 2) + fibre"
    hidden = without_name(code)
    assert hidden == "@cached\nasync def f(n):\n    fibre = 1\n    return f(n - 1) + self.f(n - 2) + fibre"
    assert without_name("function add(a, b) { return a + b }") == "function add(a, b) { return a + b }"


def test_names_are_hidden_by_the_rows_seeds() -> None:
    seeds = np.random.default_rng(0).integers(0, 2**64, size=len(PAIRS), dtype=np.uint64)
    always, never, half = (CodeTextCollate(tokenizer(), replace(CFG, hidden_names=share)) for share in (1.0, 0.0, 0.5))
    shown = never(rows(), seeds)["code_ids"]
    assert torch.equal(shown, never(rows())["code_ids"]) and torch.equal(shown, always(rows())["code_ids"])
    wanted = always.tokens([without_name(code) for _, code in PAIRS], CFG.code_length)["input_ids"]
    assert torch.equal(always(rows(), seeds)["code_ids"], wanted) and not torch.equal(wanted, shown)
    texts = tokenizer().batch_decode(half(rows(), seeds)["code_ids"])
    calls = ["def f (" in text for text in texts]
    assert 0 < sum(calls) < len(calls)
    assert calls[::-1] == [
        "def f (" in t for t in tokenizer().batch_decode(half(rows()[::-1], seeds[::-1])["code_ids"])
    ]


def test_equal_docstrings_are_no_negatives_of_each_other() -> None:
    found = batch()
    assert found["ids"][0] == found["ids"][6] and len(set(found["ids"].tolist())) == len(PAIRS) - 1
    torch.manual_seed(0)
    task = code_text().double()
    alike = task(found)["loss"]
    apart = task(found | {"ids": torch.arange(len(PAIRS))})["loss"]  # the broken twin
    assert alike < apart - 1e-3


def test_padding_says_nothing() -> None:
    torch.manual_seed(0)
    task, found = code_text().double().eval(), batch()
    padded = dict(found)
    for name, fill in (("code_ids", tokenizer().pad_token_id), ("code_mask", 0)):
        padded[name] = torch.nn.functional.pad(found[name], (0, 24 - found[name].shape[1]), value=fill)
    assert (task(padded)["loss"] - task(found)["loss"]).abs() < 1e-12
    blind = padded | {"code_mask": torch.ones_like(padded["code_mask"])}  # the broken twin
    if padded["code_mask"].min() == 0:
        assert (task(blind)["loss"] - task(found)["loss"]).abs() > 1e-6


def test_the_scale_stays_between_1_and_100() -> None:
    task = code_text()
    for value, kept in ((-1.0, 1.0), (7.0, 100.0), (2.0, 7.389056)):
        task.logit_scale.data.fill_(value)
        task.after_step(0.5)
        assert task.logit_scale.exp().item() == pytest.approx(kept, rel=1e-5)


def test_the_saved_folder_is_a_sentence_transformer_and_a_stock_model(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(0)
    task = code_text().eval()
    task.save(tmp_path)
    texts = [code for _, code in PAIRS]
    inputs = CodeTextCollate(tokenizer(), CFG).tokens(texts, CFG.code_length)
    with torch.no_grad():
        ours = torch.nn.functional.normalize(task.encode(inputs), dim=-1).numpy()
        found = AutoModel.from_pretrained(tmp_path)(**inputs).last_hidden_state
        assert torch.equal(found, task.encoder(**inputs).last_hidden_state)
        theirs = SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    assert np.abs(theirs - ours).max() < 1e-5
    assert np.abs(theirs - np.roll(ours, 1, 0)).max() > 1e-3
    assert AutoTokenizer.from_pretrained(tmp_path)(texts[0])["input_ids"] == tokenizer()(texts[0])["input_ids"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CodeTextConfig(code_length=2), "code_length 2 leaves no room"),
        (lambda: CodeTextConfig(hidden_names=1.5), "hidden_names 1.5 is a share"),
        (lambda: CodeTextConfig(temperature=0.001), "temperature 0.001 is below 0.01"),
    ],
)
def test_impossible_options_are_refused(make: Callable[[], CodeText], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
