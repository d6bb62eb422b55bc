"""Rows of map-style data: the same for any number of processes and workers, resumable by arithmetic."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.toys import Rows, collate
from trainers.config import TrainConfig
from trainers.loader import batches, build_order
from trainers.order import GlobalOrder, row_seeds

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
