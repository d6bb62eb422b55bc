"""Streams: every row once an epoch, the same rows for any number of processes, exact resume inside a window."""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, IterableDataset, concatenate_datasets, load_dataset
from datasets.utils.logging import disable_progress_bar, enable_progress_bar

from tests.trainers.toys import Stream, collate
from trainers.config import TrainConfig
from trainers.loader import batches, build_order
from trainers.stream import Lane, StreamOrder

ROWS, SHARDS = 60, 4
Source = Callable[[], Any]
Steps = list[list[tuple[int, int]]]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("shards")
    disable_progress_bar()
    for shard in range(SHARDS):
        ids = range(shard * ROWS // SHARDS, (shard + 1) * ROWS // SHARDS)
        Dataset.from_dict({"id": list(ids)}).to_parquet(str(folder / f"{shard}.parquet"))
    enable_progress_bar()
    return str(folder)


@pytest.fixture(params=["plain", "parquet", "mapped"])
def source(request: pytest.FixtureRequest, shards: str) -> Source:
    if request.param == "plain":
        return lambda: Stream(ROWS)
    if request.param == "parquet":
        return lambda: parquet(shards)
    return lambda: parquet(shards).map(lambda row: {"double": 2 * row["id"]}).filter(lambda row: row["double"] >= 0)


@cache
def parquet(folder: str) -> IterableDataset:
    """One object for all tests: no order may leave a position in it."""
    return load_dataset("parquet", data_files=f"{folder}/*.parquet", split="train", streaming=True)


def tickets(order: StreamOrder, start: int, stop: int) -> Steps:
    served = order.from_step(start, stop)
    return [[(row["id"], int(seed)) for row, seed in zip(t.rows, t.seeds, strict=True)] for t in served]


def world_of(source: Source, world: int, lanes: int, stop: int) -> Steps:
    each = [tickets(StreamOrder(source(), 12, lanes, 7, 5, rank, world), 0, stop) for rank in range(world)]
    return [[pair for share in step for pair in share] for step in zip(*each, strict=True)]


def test_each_epoch_has_every_row_once_in_another_order(source: Source) -> None:
    steps = world_of(source, 1, 1, 20)  # 4 epochs of 5 steps
    rows = [row for step in steps for row, _ in step]
    epochs = [rows[start : start + ROWS] for start in range(0, 4 * ROWS, ROWS)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4 and epochs[0] != list(range(ROWS))
    assert len({seed for step in steps for _, seed in step}) == 4 * ROWS


@pytest.mark.parametrize("lanes", [2, 4, 3])  # shards divide among 2 and 4 lanes; among 3 every lane reads all
def test_each_lane_has_its_rows_once_an_epoch(shards: str, lanes: int) -> None:
    steps = world_of(lambda: parquet(shards), 1, lanes, 10)  # two epochs
    for epoch in (steps[:5], steps[5:]):
        assert Counter(row for step in epoch for row, _ in step) == dict.fromkeys(range(ROWS), 1)
        shares = [slice(12 // lanes * lane, 12 // lanes * (lane + 1)) for lane in range(lanes)]
        assert sum(len({row for step in epoch for row, _ in step[share]}) for share in shares) == ROWS


@pytest.mark.parametrize(("world", "lanes"), [(2, 1), (4, 1), (2, 2), (4, 2), (2, 4), (4, 4), (3, 2), (2, 3)])
def test_a_step_has_the_same_rows_on_any_number_of_processes(shards: str, world: int, lanes: int) -> None:
    alone = world_of(lambda: parquet(shards), 1, lanes, 12)
    assert world_of(lambda: parquet(shards), world, lanes, 12) == alone
    # The broken twin: a lane for each process makes the rows depend on their number.
    if world != lanes:
        assert world_of(lambda: parquet(shards), 1, world, 12) != alone


def test_resume_is_exact_at_every_step_and_again_in_the_same_window(source: Source) -> None:
    whole = tickets(StreamOrder(source(), 4, 1, 23, 5, 0, 1), 0, 36)
    first = StreamOrder(source(), 4, 1, 23, 5, 0, 1)
    tickets(first, 0, 35)
    for stop in range(1, 35, 3):
        second = StreamOrder(source(), 4, 1, 23, 5, 0, 1)
        second.restore(json.loads(json.dumps(first.state(stop))))
        assert tickets(second, stop, stop + 1) == whole[stop : stop + 1]
        third = StreamOrder(source(), 4, 1, 23, 5, 0, 1)
        third.restore(second.state(stop + 1))
        assert tickets(third, stop + 1, 36) == whole[stop + 1 :]
    # The broken twin: the position reached by reading ahead instead of that of the step.
    wrong = StreamOrder(source(), 4, 1, 23, 5, 0, 1)
    wrong.restore(first.state(35))
    assert tickets(wrong, 3, 4) != whole[3:4]


def test_two_processes_go_on_as_one_and_one_as_two(shards: str) -> None:
    for lanes in (1, 2, 4):
        whole = world_of(lambda: parquet(shards), 1, lanes, 12)
        pair = [StreamOrder(parquet(shards), 12, lanes, 7, 5, rank, 2) for rank in range(2)]
        states: dict[str, Any] = {}
        for order in pair:
            tickets(order, 0, 9)  # read ahead of the step that is saved
            states |= order.state(7)
        alone = StreamOrder(parquet(shards), 12, lanes, 7, 5, 0, 1)
        alone.restore(states)
        assert tickets(alone, 7, 12) == whole[7:]
        again = [StreamOrder(parquet(shards), 12, lanes, 7, 5, rank, 2) for rank in range(2)]
        for order in again:
            order.restore(alone.state(9))
        halves = zip(*(tickets(order, 9, 12) for order in again), strict=True)
        assert [one + two for one, two in halves] == whole[9:]


def test_the_state_of_a_step_is_not_that_of_the_loader_which_reads_ahead(source: Source) -> None:
    cfg = TrainConfig(batch_size=4, steps=30, workers=2, shuffle_window=11)
    order = build_order(source(), cfg, 0, 1)
    assert isinstance(order, StreamOrder)
    loader = batches(source(), collate, order, cfg, 0, 30)
    seen = [next(loader)["id"].tolist() for _ in range(10)]
    assert 14 in order._states, "the loader was to read ahead"
    resumed = build_order(source(), cfg, 0, 1)
    assert isinstance(resumed, StreamOrder)
    resumed.restore(json.loads(json.dumps(order.state(10))))
    rest = [batch["id"].tolist() for batch in batches(source(), collate, resumed, cfg, 10, 30)]
    plain = StreamOrder(source(), 4, 1, 11, 0, 0, 1)
    assert seen + rest == [[row for row, _ in step] for step in tickets(plain, 0, 30)]


def test_a_shuffled_stream_is_refused(shards: str) -> None:
    shuffled = parquet(shards).shuffle(seed=0, buffer_size=10)
    for stream in (shuffled, shuffled.map(lambda row: row), concatenate_datasets([parquet(shards), shuffled])):
        with pytest.raises(ValueError, match=r"shuffled with a buffer.*train\.shuffle_window"):
            StreamOrder(stream, 12, 1, 7, 5, 0, 1)


def test_what_cannot_be_read_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="generator, which can be read only once"):
        StreamOrder((row for row in range(9)), 3, 1, 7, 5, 0, 1)


def test_options_that_do_not_fit_are_refused(shards: str) -> None:
    with pytest.raises(ValueError, match=r"batch_size 12 does not divide into train\.lanes 5"):
        StreamOrder(parquet(shards), 12, 5, 7, 5, 0, 1)
    with pytest.raises(ValueError, match="lanes is 2, which needs a datasets stream; got Stream"):
        StreamOrder(Stream(9), 12, 2, 7, 5, 0, 1)
    with pytest.raises(ValueError, match=r"unknown length; say how long to train with train\.steps"):
        build_order(Stream(9), TrainConfig(batch_size=3), 0, 1)
    with pytest.raises(ValueError, match="Lane 0 of the training stream has no rows"):
        StreamOrder(Stream(0), 12, 1, 7, 5, 0, 1)


def test_a_window_longer_than_the_stream_is_the_whole_stream() -> None:
    lane = Lane(Stream(9), 0, 1, 5, 1000)
    rows = [[row["id"] for row, _ in lane.take(9)] for _ in range(3)]
    assert all(sorted(epoch) == list(range(9)) for epoch in rows) and rows[0] != rows[1]
    assert all(isinstance(seed, np.uint64) for _, seed in lane.take(3))
