"""Streams in an order that resumes exactly and does not depend on the number of processes.

A stream is split into a fixed number of lanes (by shard where the shards divide). Each lane is read in windows of
fixed length, each shuffled by a permutation of (seed, lane, epoch, window); a step takes an equal share of every
lane. A shuffle *buffer* cannot be resumed without losing or doubling its rows; a window can: its source position is
remembered where it starts, and its order is recomputed.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from trainers.order import Ticket

_STATES_KEPT = 1024  # more than a loader ever reads ahead


class Lane:
    """One sub-stream, repeated for ever; each epoch serves each of its rows exactly once."""

    def __init__(self, source: Iterable[Any], lane: int, lanes: int, seed: int, window: int) -> None:
        self._source = _sub_stream(source, lane, lanes)
        self._key = (seed, lane)
        self._window = window
        self._epoch, self._number, self._served = 0, 0, 0
        self._open(None)
        self._fill()

    def take(self, count: int) -> list[tuple[Any, np.uint64]]:
        """The next `count` rows, each with the seed of its views."""
        taken: list[tuple[Any, np.uint64]] = []
        while len(taken) < count:
            if self._served == len(self._rows):
                self._number, self._served = self._number + 1, 0
                self._fill()
            place = self._order[self._served]
            taken.append((self._rows[place], self._seeds[place]))
            self._served += 1
        return taken

    def state(self) -> dict[str, Any]:
        """Where the lane stands (JSON-safe)."""
        return {"epoch": self._epoch, "window": self._number, "served": self._served, "source": self._mark}

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where `state` was taken."""
        self._epoch, self._number, self._served = state["epoch"], state["window"], state["served"]
        self._open(state["source"])
        # As it was saved: a datasets stream that has not read a row yet reports the start as its position.
        self._fill(state["source"])

    def _open(self, position: Any) -> None:
        if hasattr(self._source, "load_state_dict"):
            # A fresh copy each time: a datasets stream that has once been given a position starts there ever after.
            self._reader = copy.deepcopy(self._source)
            if position is not None:
                self._reader.load_state_dict(position)
            self._iterator = iter(self._reader)
        else:
            self._reader = self._source
            self._iterator = iter(self._reader)
            next(islice(self._iterator, position or 0, position or 0), None)

    def _fill(self, mark: Any = None) -> None:
        self._mark = self._position() if mark is None else mark
        self._rows = list(islice(self._iterator, self._window))
        if not self._rows and self._number > 0:
            self._epoch, self._number = self._epoch + 1, 0
            self._open(None)
            self._mark = self._position()
            self._rows = list(islice(self._iterator, self._window))
        if not self._rows:
            raise ValueError(
                f"Lane {self._key[1]} of the training stream has no rows; lower train.lanes or check the source."
            )
        draw = np.random.default_rng((*self._key, self._epoch, self._number))
        self._order = draw.permutation(len(self._rows))
        self._seeds = draw.integers(0, 2**64, size=len(self._rows), dtype=np.uint64)

    def _position(self) -> Any:
        if hasattr(self._reader, "load_state_dict"):
            return copy.deepcopy(self._reader.state_dict())
        return self._number * self._window


class StreamOrder:
    """Tickets of one process from a stream; the counterpart of `GlobalOrder`.

    A process reads only the lanes it serves, so with lanes a multiple of the processes nothing is read twice;
    otherwise each process reads every lane and keeps its slice.
    """

    def __init__(
        self, source: Iterable[Any], batch_size: int, lanes: int, window: int, seed: int, rank: int, world_size: int
    ) -> None:
        if isinstance(source, Iterator):
            raise ValueError(
                f"The training stream is a {type(source).__name__}, which can be read only once; pass an object whose "
                "iter() starts anew."
            )
        _refuse_shuffle_buffer(getattr(source, "_ex_iterable", None))
        if batch_size % lanes:
            raise ValueError(f"train.batch_size {batch_size} does not divide into train.lanes {lanes}.")
        self._per_lane = batch_size // lanes
        share = batch_size // world_size
        first, last = rank * share // self._per_lane, -(-(rank + 1) * share // self._per_lane)
        self._lanes = {lane: Lane(source, lane, lanes, seed, window) for lane in range(first, last)}
        offset = rank * share - first * self._per_lane
        self._mine = slice(offset, offset + share)
        self._states: OrderedDict[int, dict[str, Any]] = OrderedDict({0: self._snapshot()})

    def from_step(self, start: int, stop: int) -> Iterator[Ticket]:
        """Tickets of steps start ... stop - 1; `restore` first when start is not 0."""
        for step in range(start, stop):
            pairs = [pair for lane in self._lanes.values() for pair in lane.take(self._per_lane)][self._mine]
            self._states[step + 1] = self._snapshot()
            if len(self._states) > _STATES_KEPT:
                self._states.popitem(last=False)
            yield Ticket([row for row, _ in pairs], np.array([seed for _, seed in pairs], dtype=np.uint64))

    def state(self, step: int) -> dict[str, Any]:
        """Positions of this process's lanes before `step`, though the loader may have read further."""
        return self._states[step]

    def restore(self, states: dict[str, Any]) -> None:
        """Positions saved by any number of processes, joined."""
        for lane, reader in self._lanes.items():
            reader.restore(states[str(lane)])

    def _snapshot(self) -> dict[str, Any]:
        return {str(lane): reader.state() for lane, reader in self._lanes.items()}


def _sub_stream(source: Iterable[Any], lane: int, lanes: int) -> Any:
    if lanes == 1:
        return source
    from datasets import IterableDataset
    from datasets.distributed import split_dataset_by_node

    if not isinstance(source, IterableDataset):
        raise ValueError(f"train.lanes is {lanes}, which needs a datasets stream; got {type(source).__name__}.")
    return split_dataset_by_node(source, rank=lane, world_size=lanes)


def _refuse_shuffle_buffer(layer: Any) -> None:
    if layer is None:
        return
    if "Shuffled" in type(layer).__name__:
        raise ValueError(
            "The training stream was shuffled with a buffer, which loses rows on a resume; pass the stream "
            "unshuffled, train.shuffle_window shuffles it."
        )
    for below in (getattr(layer, "ex_iterable", None), *getattr(layer, "ex_iterables", ())):
        _refuse_shuffle_buffer(below)
