"""The test world itself: right size, results by rank, failures told."""

import os

import pytest
import torch
import torch.distributed as dist

from tests.world import WorldError, run_in_world


def who(offset: int) -> tuple[int, int, float, str]:
    total = torch.tensor([float(dist.get_rank() + offset)])
    dist.all_reduce(total)
    return dist.get_rank(), dist.get_world_size(), total.item(), os.environ["OMP_NUM_THREADS"]


def fails_on_rank_one() -> None:
    if dist.get_rank() == 1:
        raise KeyError("the guilty line")
    dist.barrier()


def dies_on_rank_zero() -> None:
    if dist.get_rank() == 0:
        os._exit(9)
    dist.barrier()


def test_results_come_by_rank() -> None:
    threads = os.environ.get("OMP_NUM_THREADS")
    assert run_in_world(who, 10, processes=2) == [(0, 2, 21.0, "1"), (1, 2, 21.0, "1")]
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_the_guilty_rank_is_named() -> None:
    with pytest.raises(WorldError, match=r"rank 1 of 2 failed[\s\S]*the guilty line"):
        run_in_world(fails_on_rank_one)


def test_a_silent_death_is_an_error() -> None:
    with pytest.raises(WorldError, match=r"failed|died"):
        run_in_world(dies_on_rank_zero)


def test_the_deadline_holds() -> None:
    with pytest.raises(WorldError, match="deadline"):
        run_in_world(who, 0, timeout=0.0)
