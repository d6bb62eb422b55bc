"""Which rows make up which step: a pure function of (seed, epoch, position).

The *global* batch is cut out of one seeded permutation and each process takes its slice of it, so the same rows make
up step k on 1, 2 or 8 processes, and going on after an interruption is arithmetic: no sampler has any state.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np


class Ticket(NamedTuple):
    """What one process loads for one step."""

    rows: list[Any]
    """Row numbers of a map-style dataset, or the rows themselves of a stream."""
    seeds: np.ndarray
    """One uint64 per row: the only randomness that views may use."""


def permutation(seed: int, epoch: int, rows: int) -> np.ndarray:
    """Order of the rows in one epoch: (rows,) int64."""
    return np.random.default_rng((seed, epoch, 0)).permutation(rows)


def row_seeds(seed: int, epoch: int, rows: int) -> np.ndarray:
    """One seed per row and epoch, whatever the order or the batch: (rows,) uint64."""
    return np.random.default_rng((seed, epoch, 1)).integers(0, 2**64, size=rows, dtype=np.uint64)


class GlobalOrder:
    """Tickets of one process, from any step on.

    Each epoch serves floor(rows / batch_size) whole batches; the rows left over differ from epoch to epoch.
    """

    def __init__(self, rows: int, batch_size: int, seed: int, rank: int, world_size: int) -> None:
        if rows < batch_size:
            raise ValueError(
                f"The training data has {rows} rows, fewer than one batch: train.batch_size is {batch_size}."
            )
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.steps_per_epoch = rows // batch_size
        share = batch_size // world_size
        self._mine = slice(rank * share, (rank + 1) * share)

    def from_step(self, start: int, stop: int) -> Iterator[Ticket]:
        """Tickets of steps start, start + 1, ... stop - 1."""
        epoch = -1
        for step in range(start, stop):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = permutation(self.seed, epoch, self.rows)
                seeds = row_seeds(self.seed, epoch, self.rows)
            first = step % self.steps_per_epoch * self.batch_size
            rows = order[first : first + self.batch_size][self._mine]
            yield Ticket(rows.tolist(), seeds[rows])
