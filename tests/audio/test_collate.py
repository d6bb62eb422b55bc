"""Batches of recordings: every row's stretch follows from its seed alone, and what is broken gives its place away."""

import numpy as np
import pytest
import torch

from modalities.audio.collate import UtteranceCollate, WindowCollate
from modalities.audio.rows import Rows
from modalities.draws import mix
from modalities.media import CorruptMedia
from tests.audio.files import RATE, half, in_memory, wav
from trainers.order import GlobalOrder

SEEDS = mix(np.arange(6, dtype=np.uint64))


def test_windows_are_stretches_of_their_row():
    rows = in_memory([4000, 4000, 300], speaker=3)
    batch = WindowCollate(1000, RATE)(list(rows), SEEDS[:3])
    assert batch["audio"].shape == (3, 1000) and batch["audio"].dtype == torch.float32
    assert batch["lengths"].tolist() == [1000, 1000, 300] and batch["speakers"].tolist() == [3, 3, 3]
    for place in (0, 1):
        first = int(batch["starts"][place].double() * RATE + 0.5)
        wanted = torch.arange(first + 1, first + 1001) / 1000
        assert (batch["audio"][place] - wanted).abs().max() < 2e-3  # a sample more or less, by rounding
    assert abs(float(batch["starts"][0] - batch["starts"][1])) > 0.01
    assert not batch["audio"][2, 300:].any() and batch["audio"][2, 299] == pytest.approx(0.3)


def test_a_stretch_depends_on_its_seed_and_on_nothing_else():
    rows, collate = list(in_memory([4000] * 4)), WindowCollate(500, RATE, count=2)
    batch = collate(rows, SEEDS[:4])
    assert batch["audio"].shape == (4, 2, 500) and batch["starts"].shape == batch["lengths"].shape == (4, 2)
    assert not torch.equal(batch["audio"][:, 0], batch["audio"][:, 1])
    again = collate([rows[2]], SEEDS[2:3])
    assert all(torch.equal(again[name][0], batch[name][2]) for name in batch)
    assert not torch.equal(collate([rows[2]], SEEDS[3:4])["audio"][0], batch["audio"][2])  # the broken twin
    middle = WindowCollate(500, RATE)(rows)
    assert (middle["starts"] == 3500 / 2 / RATE).all() and "seeds" not in middle


def test_rows_that_cannot_be_decoded_give_their_place_to_another():
    files = [wav(0), half(wav(1)), wav(2), b"", wav(4), wav(5)]
    none: list[None] = [None] * 6
    rows = Rows(files, np.arange(6), [[str(i)] for i in range(6)], list(range(6)), list(range(6)), list(none))
    batch, chosen = WindowCollate(400, RATE).with_rows(list(rows), SEEDS)
    assert [row["id"] for row in chosen] == batch["speakers"].tolist() == [0, 2, 2, 4, 4, 5]
    assert torch.equal(batch["audio"][1], batch["audio"][2]) and not torch.equal(batch["audio"][0], batch["audio"][2])
    with pytest.raises(CorruptMedia, match="row 1: truncated or damaged"):
        WindowCollate(400, RATE)(list(rows))  # evaluation must not measure another row
    collate = WindowCollate(400, RATE, max_bad=0.02)
    with pytest.raises(ValueError, match=r"12 of 36 recordings cannot be decoded, more than data.max_bad=0.02 allows"):
        for _ in range(9):
            collate(list(rows), SEEDS)


def test_whole_recordings_are_padded_to_the_longest():
    rows = in_memory([100, 700, 2000])
    batch = UtteranceCollate(1000, RATE)(list(rows)[:2], SEEDS[:2])
    assert batch["audio"].shape == (2, 700) and batch["lengths"].tolist() == [100, 700]
    assert not batch["audio"][0, 100:].any() and batch["starts"].tolist() == [0, 0]
    capped = UtteranceCollate(1000, RATE)(list(rows))
    assert capped["audio"].shape == (3, 1000) and capped["lengths"].tolist() == [100, 700, 1000]


def test_batches_of_about_equal_length():
    lengths = np.random.default_rng(0).integers(100, 8000, 64)
    rows = in_memory(lengths.tolist())
    assert (rows.lengths == lengths * 1000 // RATE).all()
    padding = {}
    for window in (0, 8):
        order = GlobalOrder(64, 8, 0, 0, 1, rows.lengths if window else None, window)
        batches = [rows.lengths[ticket.rows] for ticket in order.from_step(0, 8)]
        assert sorted(np.concatenate(batches)) == sorted(rows.lengths)
        padding[window] = sum(len(batch) * batch.max() - batch.sum() for batch in batches)
    assert padding[8] < 0.25 * padding[0]
