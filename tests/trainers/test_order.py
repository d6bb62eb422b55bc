"""Rows of map-style data: the same for any number of processes and workers, resumable by arithmetic."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.toys import Rows, collate
from trainers.config import TrainConfig
from trainers.loader import batches, build_order
from trainers.order import GlobalOrder, bucketed, permutation, row_seeds

Steps = list[list[tuple[int, int]]]


def served(rows: int, batch: int, world: int, start: int, stop: int, order: Any = GlobalOrder) -> Steps:
    """(row, seed) of each step, the processes' shares joined."""
    tickets = [list(order(rows, batch, 3, rank, world).from_step(start, stop)) for rank in range(world)]
    return [
        [pair for ticket in step for pair in zip(ticket.rows, ticket.seeds.tolist(), strict=True)]
        for step in zip(*tickets, strict=True)
    ]


class Strided(GlobalOrder):
    """The broken twin: each process permutes on its own, as a sampler per process does."""

    def __init__(self, rows: int, batch_size: int, seed: int, rank: int, world_size: int) -> None:
        super().__init__(rows, batch_size, seed + rank, rank, world_size)


@pytest.mark.parametrize("world", [2, 4])
def test_a_step_has_the_same_rows_on_any_number_of_processes(world: int) -> None:
    alone = served(50, 8, 1, 0, 15)
    assert served(50, 8, world, 0, 15) == alone
    assert served(50, 8, world, 0, 15, Strided) != alone


def test_going_on_from_any_step_is_going_on() -> None:
    whole = served(50, 8, 2, 0, 15)
    for start in range(16):
        assert served(50, 8, 2, start, 15) == whole[start:]
    assert whole[:6] != whole[6:12]


def test_epochs_have_each_row_at_most_once_and_never_the_same_order() -> None:
    epochs = [[row for step in served(50, 8, 1, 6 * e, 6 * e + 6) for row, _ in step] for e in range(20)]
    assert all(len(set(epoch)) == 48 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 20
    assert len({frozenset(epoch) for epoch in epochs}) > 1  # other rows are left over each time
    assert {row for epoch in epochs for row in epoch} == set(range(50))


@pytest.mark.parametrize(("rows", "steps"), [(8, 1), (15, 1), (16, 2), (17, 2), (23, 2)])
def test_an_epoch_is_the_whole_batches(rows: int, steps: int) -> None:
    assert GlobalOrder(rows, 8, 0, 0, 1).steps_per_epoch == steps


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_fewer_rows_than_a_batch_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=rf"has {rows} rows.*batch_size is 8"):
        build_order(Rows(rows), TrainConfig(batch_size=8), 0, 1)


def test_a_row_has_its_seed_whatever_batch_it_is_in() -> None:
    small, large = served(48, 4, 1, 0, 12), served(48, 16, 2, 0, 3)
    seeds = dict(pair for step in small for pair in step)
    assert seeds == dict(pair for step in large for pair in step)
    assert len(set(seeds.values())) == 48
    assert set(row_seeds(3, 0, 48).tolist()).isdisjoint(row_seeds(3, 1, 48).tolist())
    assert not np.array_equal(row_seeds(3, 0, 48), row_seeds(4, 0, 48))


@pytest.mark.parametrize(
    ("world", "message"), [(3, "batch_size 8 does not divide among 3 processes; 6 and 9 do"), (16, "16 and 16|16 do")]
)
def test_a_batch_that_does_not_divide_names_the_numbers(world: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_order(Rows(40), TrainConfig(batch_size=8), 0, world)


def test_a_micro_batch_that_does_not_divide_names_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"micro_batch 3 does not divide the 4 rows .* 2 processes .*batch_size 8"):
        TrainConfig(batch_size=8, micro_batch=3).share(2)


def loaded(workers: int, start: int = 0, seed: int = 0) -> list[dict[str, Tensor]]:
    cfg = TrainConfig(batch_size=8, workers=workers, seed=seed)
    return list(batches(Rows(40), collate, build_order(Rows(40), cfg, 0, 1), cfg, start, 8))


def test_rows_and_views_do_not_depend_on_workers() -> None:
    alone, helped, resumed, other = loaded(0), loaded(2), loaded(2, start=3), loaded(0, seed=1)
    assert len(alone) == len(helped) == 8
    for left, right in zip(alone, helped, strict=True):
        assert all(torch.equal(left[name], right[name]) for name in left)
    for left, right in zip(alone[3:], resumed, strict=True):
        assert all(torch.equal(left[name], right[name]) for name in left)
    assert not any(torch.equal(left["x"], right["x"]) for left, right in zip(alone, other, strict=True))


LENGTHS = np.random.default_rng(1).integers(1, 100, 50)
Bucketed = partial(GlobalOrder, lengths=LENGTHS, window=3)


def bucketed_by_each(rows: int, batch_size: int, seed: int, rank: int, world_size: int) -> GlobalOrder:
    """The broken twin: each process makes buckets of its own."""
    return GlobalOrder(rows, batch_size, seed + rank, rank, world_size, LENGTHS, 3)


@pytest.mark.parametrize("world", [2, 4, 8])
def test_buckets_are_the_same_on_any_number_of_processes(world: int) -> None:
    alone = served(50, 8, 1, 0, 15, Bucketed)
    assert served(50, 8, world, 0, 15, Bucketed) == alone
    assert all(served(50, 8, world, start, 15, Bucketed) == alone[start:] for start in range(16))
    assert alone != served(50, 8, 1, 0, 15)
    assert served(50, 8, world, 0, 15, bucketed_by_each) != alone


def test_buckets_serve_the_rows_of_the_epoch_with_their_seeds() -> None:
    for epoch in range(3):
        plain = [pair for step in served(50, 8, 1, 6 * epoch, 6 * epoch + 6) for pair in step]
        found = [pair for step in served(50, 8, 1, 6 * epoch, 6 * epoch + 6, Bucketed) for pair in step]
        assert sorted(found) == sorted(plain) and found != plain
    assert served(50, 8, 1, 0, 6, Bucketed) != served(50, 8, 1, 6, 12, Bucketed)


def test_a_bucket_holds_the_neighbours_in_length_of_its_window() -> None:
    order = permutation(3, 0, 50)
    windows = [set(order[:24].tolist()), set(order[24:48].tolist())]
    batches = bucketed(order, LENGTHS, 8, 3, 3, 0).reshape(6, 8)
    for batch in batches:
        (window,) = [window for window in windows if set(batch.tolist()) <= window]
        inside = np.sort(LENGTHS[batch])
        others = LENGTHS[[row for row in window if row not in batch]]
        assert not ((others > inside[0]) & (others < inside[-1])).any()
    shortest = [int(LENGTHS[batch].min()) for batch in batches]
    assert shortest != sorted(shortest)  # short rows do not all come first


def test_processes_have_about_the_same_to_do() -> None:
    lengths = np.arange(64)
    (batch,) = bucketed(np.random.default_rng(0).permutation(64), lengths, 64, 1, 0, 0).reshape(1, 64)
    for world in (2, 4, 8):
        sums = [lengths[share].sum() for share in np.split(batch, world)]
        assert max(sums) - min(sums) <= 64
        sorted_sums = [share.sum() for share in np.split(lengths, world)]  # the broken twin: shares of a sorted batch
        assert max(sorted_sums) - min(sorted_sums) > 200


def test_lengths_matter_only_with_a_window() -> None:
    data = Rows(50)
    data.lengths = LENGTHS  # type: ignore[attr-defined]

    def rows(data: Rows, window: int) -> list[list[int]]:
        cfg = TrainConfig(batch_size=8, bucket_window=window)
        return [ticket.rows for ticket in build_order(data, cfg, 0, 1).from_step(0, 6)]

    assert rows(data, 0) == rows(Rows(50), 0) != rows(data, 3)
    with pytest.raises(ValueError, match="bucket_window 3 cannot be used: the training data does not know the lengths"):
        rows(Rows(50), 3)
    with pytest.raises(ValueError, match="bucket_window 3 cannot be used: the training data is a stream"):
        build_order(iter, TrainConfig(batch_size=8, steps=1, bucket_window=3), 0, 1)
    assert TrainConfig(bucket_window=3).identity() != TrainConfig().identity()
    with pytest.raises(ValueError, match="bucket_window is -1; it must not be negative"):
        TrainConfig(bucket_window=-1)
