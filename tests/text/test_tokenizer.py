"""Tokenizers: the same in every process, reloaded as they were, exact where they promise it."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertConfig, BertTokenizer, ModernBertConfig, RobertaTokenizer

from modalities.text import tokenizer as module
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

TEXTS = [
    "In the beginning God created the heavens and the earth; the earth was without form.",
    "The spirit of God moved upon the face of the waters, and the waters were gathered together.",
    "Let there be light: and there was light, and the light was good; day and night, night and day.",
    "Élan, naïve café, 42 — words that have marks on them, gathered and regathered, form and reform.",
]
KINDS = ("wordpiece", "bpe", "unigram")
ODD = [
    "",
    " ",
    "a",
    "two\nlines\tand  spaces ",
    "e\u0301 \u0301",
    "\x00\x07\u200d\u202e",
    "👩\u200d👩\u200d👧 🇩🇪",
    "<s> </s> [SEP]",
]


def build(kind: Any, lower: bool = True, size: int = 330) -> Any:
    return build_tokenizer(TokenizerConfig(kind=kind, vocabulary=size, lower=lower), TEXTS, 32)


def fingerprint(kind: str) -> str:
    """Of the tokenizer, or of what the library's own trainer makes of the same texts."""
    if kind == "library":
        backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        backend.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=180, show_progress=False))
    else:
        backend = build(kind, size=280 if kind == "bpe" else 120).backend_tokenizer
    return hashlib.sha256(backend.to_str().encode()).hexdigest()


def elsewhere(kinds: list[str]) -> list[str]:
    """Fingerprints in a process with another hash seed and number of threads."""
    code = f"from tests.text.test_tokenizer import fingerprint as f; print(*[f(k) for k in {kinds!r}])"
    env = os.environ | {"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3"}
    run = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.split()


def test_every_process_makes_the_same_tokens() -> None:
    kinds = [*KINDS, "library"]
    *ours, library = (one == other for one, other in zip(map(fingerprint, kinds), elsewhere(kinds), strict=True))
    assert ours == [True, True, True]
    assert not library  # the broken twin: the library's own trainer, left to itself


def same(one: Any, other: Any) -> bool:
    """Whether two tokenizers say the same of every text and pair of texts."""
    texts = [text for text in TEXTS + ODD if text.strip()]
    what = {"return_token_type_ids": True, "return_offsets_mapping": True}
    pairs = [(a, b) for a in texts for b in texts[:2]]
    encodings = [([one(t, **what) for t in texts], [other(t, **what) for t in texts])]
    encodings += [([one(*p, **what) for p in pairs], [other(*p, **what) for p in pairs])]
    return all(
        dict(left) == dict(right) and left.word_ids() == right.word_ids()
        for lefts, rights in encodings
        for left, right in zip(lefts, rights, strict=True)
    )


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same_again(kind: str, lower: bool, tmp_path: Path) -> None:
    tokenizer = build(kind, lower)
    tokenizer.save_pretrained(tmp_path)
    stock: list[Any] = {"wordpiece": [BertTokenizer], "bpe": [RobertaTokenizer], "unigram": []}[kind]
    reloaded = [AutoTokenizer.from_pretrained(tmp_path), *(kind.from_pretrained(tmp_path) for kind in stock)]
    for config in (BertConfig(), ModernBertConfig()):  # AutoTokenizer also looks at the model beside it
        config.save_pretrained(tmp_path)
        reloaded.append(AutoTokenizer.from_pretrained(tmp_path))
    for other in reloaded:
        assert same(tokenizer, other)
        assert other.model_max_length == 32
        assert other.eos_token == tokenizer.sep_token and other.bos_token == tokenizer.cls_token
        assert other.all_special_ids == tokenizer.all_special_ids
    assert not same(tokenizer, build(kind, not lower, size=300 if kind == "bpe" else 330))


@pytest.mark.parametrize("kind", KINDS)
def test_marks_stand_where_the_family_has_them(kind: str) -> None:
    tokenizer = build(kind)
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    one, two = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the light", "and day"))
    assert tokenizer("the light")["input_ids"] == [cls, *one, sep]
    pair = tokenizer("the light", "and day", return_token_type_ids=True)
    between = [sep, sep] if kind == "bpe" else [sep]
    assert pair["input_ids"] == [cls, *one, *between, *two, sep]
    second = 0 if kind == "bpe" else 1
    assert pair["token_type_ids"] == [0] * (len(one) + len(between) + 1) + [second] * (len(two) + 1)
    assert len({tokenizer.pad_token_id, tokenizer.unk_token_id, cls, sep, tokenizer.mask_token_id}) == 5
    assert max(tokenizer.all_special_ids) == 4


def test_bytes_come_back_whatever_the_text() -> None:
    tokenizer = build("bpe")
    draw = np.random.default_rng(0)
    points = [int(p) for p in draw.integers(1, 0x110000, 4000) if not 0xD800 <= p < 0xE000]
    texts = [*TEXTS, *ODD, *("".join(map(chr, points[i : i + 40])) for i in range(0, len(points), 40))]

    def again(tokenizer: Any) -> list[str]:
        ids = [tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] for text in texts]
        return [tokenizer.decode(some, clean_up_tokenization_spaces=False) for some in ids]

    assert again(tokenizer) == texts
    assert again(build("unigram")) != texts


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_lower_also_takes_accents_off(kind: str) -> None:
    def plain(lower: bool) -> str:
        tokenizer = build(kind, lower)
        return str(tokenizer.decode(tokenizer("Élan, naïve")["input_ids"], skip_special_tokens=True))

    assert plain(True) == "elan, naive"
    assert plain(False) == "Élan, naïve"


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_only_characters_that_no_text_had_are_unknown(kind: str) -> None:
    tokenizer = build(kind, size=90)
    assert all(tokenizer.unk_token_id not in tokenizer(text)["input_ids"] for text in TEXTS)
    assert tokenizer.unk_token_id in tokenizer("語")["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_that_is_too_large_ends_where_the_texts_do(kind: str) -> None:
    tokenizer = build(kind, size=10_000)
    assert 60 < len(tokenizer) < 1500
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("bpe", 260, "256 bytes and 5 marks, so ask for 261"),
        ("wordpiece", 5, "5 marks, so ask for 6"),
        ("wordpiece", 20, r"vocabulary 20 is too small.*that \d\d are needed"),
        ("unigram", 20, r"vocabulary 20 is too small.*that \d\d are needed"),
    ],
)
def test_a_vocabulary_that_is_too_small_is_refused(kind: Any, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(kind, size=size)


def test_texts_without_a_word_are_refused() -> None:
    with pytest.raises(ValueError, match=r"empty; check data\.source"):
        build_tokenizer(TokenizerConfig(), [" ", "\n"], 8)


def test_the_tokenizer_of_a_checkpoint_is_taken(tmp_path: Path) -> None:
    build("bpe").save_pretrained(tmp_path / "there")
    assert same(build_tokenizer(TokenizerConfig(start_from=str(tmp_path / "there")), [], 8), build("bpe"))


def test_the_tokenizer_of_a_checkpoint_pads_and_cuts_as_ours_do(tmp_path: Path) -> None:
    build("bpe").save_pretrained(tmp_path / "left")
    options_file = tmp_path / "left" / "tokenizer_config.json"
    sides = {"padding_side": "left", "truncation_side": "left", "model_max_length": 1000}
    options_file.write_text(json.dumps(json.loads(options_file.read_text()) | sides))
    here = build_tokenizer(TokenizerConfig(start_from=str(tmp_path / "left")), [], 8)
    texts, options = [*TEXTS[:2], "day"], {"padding": True, "truncation": True}
    wanted = build_tokenizer(TokenizerConfig("bpe", 330), TEXTS, 8)(texts, **options)["input_ids"]
    assert here(texts, **options)["input_ids"] == wanted and len(wanted[0]) == 8
    left = AutoTokenizer.from_pretrained(tmp_path / "left")(texts, max_length=8, **options)["input_ids"]
    assert all(a != b for a, b in zip(left, wanted, strict=True))  # the broken twin


def test_folders_without_a_tokenizer_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=rf"start_from '.*{place.name}' cannot be loaded") as error:
            build_tokenizer(TokenizerConfig(start_from=str(place)), [], 8)
        assert "\n" not in str(error.value)


def test_what_is_learnt_from_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{chr(97 + i % 26)}{i} " * (1 + i % 7) for i in range(500)] + ["long " * 2000]
    monkeypatch.setattr(module, "_PIECE", 50)
    found = module._evenly_spaced(texts, 3000)
    size, total = sum(map(len, found)), sum(map(len, texts))
    assert 2900 < size <= 3000 and max(map(len, found)) <= 50
    short = [text for text in found if "long" not in text]
    assert abs(sum(map(len, short)) / (total - 10_000) - 3000 / total) < 0.03
    numbers = [int(text.split()[0][1:]) for text in short]
    assert numbers == sorted(numbers) and max(np.diff(numbers)) < 30 and numbers[-1] > 470  # not the first ones
    assert module._evenly_spaced(texts, total) is texts
    monkeypatch.setattr(module, "_MOST", {"unigram": 3000})
    learnt = build_tokenizer(TokenizerConfig("unigram", 200), texts, 8)
    monkeypatch.setattr(module, "_MOST", {"unigram": 10**6})
    assert learnt.get_vocab() == build_tokenizer(TokenizerConfig("unigram", 200), found, 8).get_vocab()
    assert learnt.get_vocab() != build_tokenizer(TokenizerConfig("unigram", 200), texts, 8).get_vocab()
