"""EDA and cutoff: what each view changes, that a row's seed alone decides it, and what is refused."""

from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from modalities.draws import as_signed, mix
from modalities.text.augment import EDACollate, EDAConfig, eda, read_synonyms
from modalities.text.collate import TextsCollate
from modalities.text.cutoff import FIRST, SECOND, View, view
from tests.text.examples_neighbours import LENGTH, SENTENCES, consert, rows, tokenizer

TEXT = "one two three four five six seven eight nine ten eleven twelve"
SEEDS = mix(np.arange(400, dtype=np.uint64))
KINDS = [kind for kind in get_args(View) if kind != "none"]


def kind_of(changed: str) -> str:
    before, after = Counter(TEXT.split()), Counter(changed.split())
    if after == before:
        return "same" if changed == TEXT else "swap"
    if after - before and not before - after:
        return "insert"
    return "delete" if not after - before else "replace"


def test_eda_draws_each_operation() -> None:
    found = Counter(kind_of(eda(TEXT, seed)) for seed in SEEDS)
    assert set(found) == {"swap", "insert", "delete", "same"}  # a swap may be of one word with itself
    assert min(found["swap"], found["insert"], found["delete"]) > 60
    synonyms = {"three": ["III", "3"], "nine": ["IX"]}
    with_synonyms = [eda(TEXT, seed, 0.1, synonyms) for seed in SEEDS]
    assert {kind_of(text) for text in with_synonyms} == {"swap", "insert", "delete", "replace", "same"}
    new = Counter(word for text in with_synonyms for word in text.split() if word not in TEXT.split())
    assert set(new) == {"III", "3", "IX"}  # words come from the file and from nowhere else


def test_eda_changes_its_share() -> None:
    long = " ".join(map(str, range(200)))
    lengths = np.array([len(eda(long, seed, 0.1).split()) for seed in SEEDS])
    inserted, deleted = lengths[lengths > 200], 200 - lengths[lengths < 200]
    assert set(inserted) == {220} and abs(deleted.mean() - 20) < 2


@pytest.mark.parametrize("text", ["", "   ", "word", "two words"])
def test_short_texts_keep_a_word(text: str) -> None:
    for seed in SEEDS[:100]:
        assert bool(eda(text, seed, 0.9).split()) == bool(text.split())


def test_eda_views_belong_to_the_row() -> None:
    collate = EDACollate(TextsCollate(tokenizer(), LENGTH), EDAConfig(share=0.3))
    batch = collate(rows(1), SEEDS[:8])
    assert batch["input_ids"].shape[:2] == (8, 2) and torch.equal(batch["seeds"], as_signed(SEEDS[:8]))
    assert not torch.equal(batch["input_ids"][:, 0], batch["input_ids"][:, 1])  # two views, drawn apart
    for part in (slice(0, 4), slice(4, 8)):
        share = collate(rows(1)[part], SEEDS[part])
        width = share["input_ids"].shape[2]
        assert torch.equal(share["input_ids"], batch["input_ids"][part, :, :width])
    assert not torch.equal(collate(rows(1), SEEDS[8:16])["input_ids"][:, 0, :6], batch["input_ids"][:, 0, :6])
    several = collate(rows(2), SEEDS[:8])
    assert several["input_ids"].shape[1] == 2
    plain = collate(rows(1))  # without seeds, for an evaluation
    off = EDACollate(collate.collate, EDAConfig())(rows(1), SEEDS[:8])
    assert all(torch.equal(off[name], plain[name]) for name in plain)
    assert tokenizer().decode(plain["input_ids"][0, 0], skip_special_tokens=True) == SENTENCES[0]


def test_synonyms_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("Big, large, great\n\nsmall,little\nbig, huge\n")
    assert read_synonyms(path) == {"big": ["large", "great", "huge"], "small": ["little"]}
    path.write_text("big, large\nsmall\n")
    with pytest.raises(ValueError, match="line 2: 'small' has no synonym"):
        read_synonyms(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_synonyms(tmp_path / "nowhere.txt")
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="cannot be read"):
        read_synonyms(path)
    with pytest.raises(ValueError, match=r"eda\.share"):
        EDAConfig(share=1.0)


N, T, D = 64, 14, 10
GENERATOR = torch.Generator().manual_seed(0)
WORDS = torch.randn(N, T, D, generator=GENERATOR, dtype=torch.float64)
MASK = torch.ones(N, T, dtype=torch.long)
MASK[::2, 9:] = 0  # every second text has 9 tokens, 7 without the special ones


def seen(kind: View, stream: int = FIRST, share: float = 0.3) -> Tensor:
    return view(WORDS, MASK, as_signed(SEEDS[:N]), kind, share, stream)


def test_a_view_takes_its_share() -> None:
    short, long = slice(0, None, 2), slice(1, None, 2)
    for kind in ("token", "span"):
        cut = (seen(kind) == 0).all(2)  # (n, t)
        assert set(cut[short].sum(1).tolist()) == {2} and set(cut[long].sum(1).tolist()) == {4}  # of 7 and of 12
        assert not cut[:, 0].any() and not cut[short, 8].any() and not cut[long, 13].any()
        inside = cut[short][:, 1:8].any(0)
        assert inside.all()  # every word's turn comes
        runs = (cut[:, 1:] & ~cut[:, :-1]).sum(1)
        assert (runs == 1).all() == (kind == "span")
        assert torch.equal(seen(kind)[~cut], WORDS[~cut])
    gone = (seen("feature") == 0).all(1)  # (n, d)
    assert (gone.sum(1) == 3).all() and gone.any(0).all()
    assert torch.equal(seen("none"), WORDS)


def test_a_shuffle_keeps_every_token() -> None:
    out = seen("shuffle")
    assert torch.equal(out[:, 0], WORDS[:, 0]) and torch.equal(out[::2, 8:], WORDS[::2, 8:])
    assert torch.equal(out.sort(1).values, WORDS.sort(1).values)
    assert ((out != WORDS).any(2).sum(1) > 0).float().mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_is_of_the_row_and_the_stream_alone(kind: View) -> None:
    whole = seen(kind)
    assert torch.equal(view(WORDS[40:], MASK[40:], as_signed(SEEDS[40:N]), kind, 0.3, FIRST), whole[40:])
    more = torch.cat([WORDS, WORDS[:, :2]], 1), torch.cat([MASK, 0 * MASK[:, :2]], 1)  # padding behind
    padded = view(*more, as_signed(SEEDS[:N]), kind, 0.3, FIRST)[:, :T]
    assert torch.equal(padded * MASK[:, :, None], whole * MASK[:, :, None])
    assert not torch.equal(seen(kind, SECOND), whole)
    assert not torch.equal(view(WORDS, MASK, as_signed(SEEDS[1 : N + 1]), kind, 0.3, FIRST), whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [0, 1, 2, 3])
def test_texts_with_nothing_inside_are_left_alone(kind: View, tokens: int) -> None:
    mask = (torch.arange(T) < tokens).long().expand(N, T)
    out = view(WORDS, mask, as_signed(SEEDS[:N]), kind, 0.3, FIRST)
    assert torch.equal(out, WORDS) or kind == "feature"


def test_consert_views_differ_and_repeat() -> None:
    task, batch = consert()
    task = task.double().train()
    one, two = task.embed(batch)
    assert not torch.equal(one, two)
    assert all(torch.equal(a, b) for a, b in zip(task.embed(batch), (one, two), strict=True))
    assert not torch.equal(task.embed(batch | {"seeds": batch["seeds"] + 1})[0], one)
