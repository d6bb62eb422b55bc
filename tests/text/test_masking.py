"""Masks: shares, units, fates, and whom they never touch."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from modalities.draws import mix
from modalities.text.masking import MaskConfig, MaskedCollate, Masking, choose
from modalities.text.packing import pack
from tests.text.examples_bert import LENGTH, MASKS, packed, seeds, sentences, tokenizer

ROWS, T = 4000, 40


def grid(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(maskable, words, segments): words of one to four tokens, two documents, marks at their ends, some padding."""
    lengths = np.random.default_rng(0).integers(1, 5, size=T)
    words = np.repeat(np.arange(T), lengths)[:T]
    words = np.tile(words, (rows, 1))
    segments = np.where(np.arange(T) < 22, 1, 2) * np.ones((rows, 1), dtype=np.int64)
    segments[:, -4:] = 0
    words[:, [0, 21, 22, T - 5]] = -1  # [CLS] and [SEP]
    words[segments == 0] = -1
    return words >= 0, words, segments


def drawn(cfg: MaskConfig, rows: int = ROWS, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return choose(*grid(rows), mix(np.arange(first, first + rows, dtype=np.uint64)), cfg)


@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_the_share_is_exact_on_average_and_every_token_has_its_turn(unit: str) -> None:
    chosen, _ = drawn(MaskConfig(unit=unit))  # type: ignore[arg-type]
    maskable = grid()[0]
    assert not chosen[~maskable].any()
    share = chosen.sum() / maskable.sum()
    # The standard error of the mean over rows; without luck for the last unit, words fall short of it tenfold.
    error = chosen.sum(1).std() / np.sqrt(ROWS) / maskable[0].sum()
    assert abs(share - 0.15) < 4 * error + 1e-9
    by_place = chosen.mean(0)[maskable[0]]
    assert by_place.min() > 0.08 and by_place.max() < 0.25


def test_single_tokens_are_as_many_in_each_row_as_the_share_allows() -> None:
    counts = drawn(MaskConfig())[0].sum(1)
    wanted = 0.15 * grid(1)[0].sum()
    assert set(counts.tolist()) == {int(np.floor(wanted)), int(np.ceil(wanted))}


def test_whole_words_are_hidden_whole_and_single_tokens_are_not() -> None:
    _, words, segments = grid()

    def broken_words(cfg: MaskConfig) -> int:
        chosen, fate = drawn(cfg)
        same = (words[:, 1:] == words[:, :-1]) & (words[:, 1:] >= 0) & (segments[:, 1:] == segments[:, :-1])
        torn = same & (chosen[:, 1:] != chosen[:, :-1])
        torn |= same & chosen[:, 1:] & (fate[:, 1:] != fate[:, :-1])  # a word shares one fate
        return int(torn.sum())

    assert broken_words(MaskConfig(unit="word")) == 0
    assert broken_words(MaskConfig(unit="span")) == 0
    assert broken_words(MaskConfig(unit="token")) > 1000


def test_spans_have_geometric_lengths_in_words() -> None:
    rows, t = 200, 4000
    words = np.tile(np.arange(t), (rows, 1))
    ones = np.ones((rows, t), dtype=np.int64)
    cfg = MaskConfig(unit="span", share=0.02)  # few, so that hardly any two touch
    chosen, fate = choose(words >= 0, words, ones, mix(np.arange(rows, dtype=np.uint64)), cfg)
    runs = []
    for row, same in zip(chosen[:, 1:-1], fate[:, 1:-1], strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], np.where(row, same + 1, 0), [0]])))
        values = np.where(row, same + 1, 0)
        runs += [stop - start for start, stop in itertools.pairwise(edges) if values[start] > 0]
    found = np.bincount(runs, minlength=11)[1:]
    wanted = 0.8 ** np.arange(10) * 0.2
    assert len(found) == 10  # never longer than ten words
    assert np.abs(found / found.sum() - wanted / wanted.sum()).max() < 0.02
    assert abs(np.mean(runs) - (wanted @ np.arange(1, 11)) / wanted.sum()) < 0.15


def test_fates_are_eighty_ten_ten() -> None:
    masking = Masking(tokenizer(), MaskConfig())
    _, words, segments = grid()
    ids = masking.ordinary[np.random.default_rng(1).integers(len(masking.ordinary), size=words.shape)]
    ids[words < 0] = tokenizer().pad_token_id
    hidden, labels = masking(ids, words, segments, mix(np.arange(ROWS, dtype=np.uint64)))
    asked = labels != -100
    assert np.array_equal(hidden[~asked], ids[~asked]) and np.array_equal(labels[asked], ids[asked])
    masked = (hidden == tokenizer().mask_token_id)[asked].mean()
    kept = (hidden == ids)[asked].mean()
    by_chance = 0.1 / len(masking.ordinary)  # a random token may be the true one
    error = 4 * np.sqrt(0.25 / asked.sum())
    assert abs(masked - 0.8) < error and abs(kept - 0.1 - by_chance) < error
    random = hidden[asked & (hidden != tokenizer().mask_token_id) & (hidden != ids)]
    assert not np.isin(random, masking.special).any()
    assert len(np.unique(random)) == len(masking.ordinary)


def test_masks_belong_to_their_rows_and_not_to_the_padding() -> None:
    masks = MaskConfig(unit="span", share=0.3)
    rows = pack(sentences(20), tokenizer(), LENGTH)
    collate = MaskedCollate(tokenizer(), masks)
    whole = collate([rows[place] for place in range(ROWS_HERE)], seeds(ROWS_HERE))
    halves = [
        collate([rows[place] for place in side], seeds(ROWS_HERE)[list(side)])
        for side in (range(3), range(3, ROWS_HERE))
    ]
    for name in ("input_ids", "labels"):
        assert torch.equal(whole[name], torch.cat([half[name] for half in halves]))
    again = collate([rows[place] for place in range(ROWS_HERE)], seeds(2 * ROWS_HERE)[ROWS_HERE:])
    assert not torch.equal(whole["labels"], again["labels"])  # the next epoch's
    longer = pack(["the cat sees the dog", *sentences(1)], tokenizer(), 2 * LENGTH)[0]
    short = {name: array[:10] for name, array in longer.items() if isinstance(array, np.ndarray)}
    alone = collate([short], seeds(1))  # type: ignore[list-item]
    beside = collate([short, longer], seeds(2))  # type: ignore[list-item]
    assert beside["labels"].shape[1] > alone["labels"].shape[1]
    assert torch.equal(beside["labels"][0, :10], alone["labels"][0])
    assert (beside["labels"][0, 10:] == -100).all()


ROWS_HERE = 8


def test_rows_of_single_documents_need_no_square_mask() -> None:
    batch = packed(MASKS)
    assert "segments" in batch and "attention_mask" not in batch
    one = pack(sentences(1), tokenizer(), LENGTH)
    batch = MaskedCollate(tokenizer(), MASKS)([one[0]], seeds(1))
    assert batch["attention_mask"].tolist() == (one.segments > 0).astype(int).tolist() and "segments" not in batch


def test_unknown_words_are_not_asked_about() -> None:
    rows = pack(["☃ ☃ ☃ the cat ☃ ☃ ☃"], tokenizer(), LENGTH)
    assert (rows.input_ids == tokenizer().unk_token_id).sum() == 6
    batch = MaskedCollate(tokenizer(), MaskConfig(share=0.99))([rows[0]], seeds(1))
    assert 0 < int((batch["labels"] != -100).sum()) <= 2
    assert not (batch["labels"] == tokenizer().unk_token_id).any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"share": 0.0}, "masks.share"),
        ({"masked": 0.8, "random": 0.3}, "masks.random"),
        ({"span_end": 1.0}, "masks.span_end"),
        ({"longest_span": 0}, "masks.longest_span"),
    ],
)
def test_options_that_cannot_work(options: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        dataclasses.replace(MaskConfig(), **options)  # type: ignore[arg-type]
