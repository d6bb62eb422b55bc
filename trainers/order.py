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


def bucketed(order: np.ndarray, lengths: np.ndarray, batch_size: int, window: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of whole batches, (steps * batch_size,), so that a batch has rows of about equal length.

    Every `window` batches of `order` are sorted by `lengths` (rows,) and cut into batches again, which then come in
    any order. Inside a batch short and long rows alternate, so that whatever contiguous share a process takes of it,
    all processes have about the same to do.
    """
    steps = len(order) // batch_size
    order = order[: steps * batch_size].copy()
    for first in range(0, len(order), window * batch_size):
        here = slice(first, first + window * batch_size)
        order[here] = order[here][np.argsort(lengths[order[here]], kind="stable")]
    batches = order.reshape(steps, batch_size)[np.random.default_rng((seed, epoch, 2)).permutation(steps)]
    return batches[:, np.argsort(_mirrored(batch_size))].reshape(-1)


def _mirrored(count: int) -> np.ndarray:
    """0 ... count - 1 with their binary digits mirrored at the point: sorting by it puts numbers far apart that were
    side by side (van der Corput's sequence)."""
    digits = np.arange(count)[:, None] >> np.arange(max(1, count.bit_length())) & 1
    mirrored: np.ndarray = (digits * 0.5 ** np.arange(1, digits.shape[1] + 1)).sum(1)
    return mirrored


class GlobalOrder:
    """Tickets of one process, from any step on.

    Each epoch serves floor(rows / batch_size) whole batches; the rows left over differ from epoch to epoch.
    With `lengths` (rows,) and a `window`, batches are of rows that are about equally long: see `bucketed`.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
        lengths: np.ndarray | None = None,
        window: int = 0,
    ) -> None:
        if rows < batch_size:
            raise ValueError(
                f"The training data has {rows} rows, fewer than one batch: train.batch_size is {batch_size}."
            )
        assert lengths is None or len(lengths) == rows, f"{len(lengths)} lengths of {rows} rows"
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self._lengths, self._window = lengths, window
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
                if self._lengths is not None and self._window:
                    order = bucketed(order, self._lengths, self.batch_size, self._window, self.seed, epoch)
                seeds = row_seeds(self.seed, epoch, self.rows)
            first = step % self.steps_per_epoch * self.batch_size
            rows = order[first : first + self.batch_size][self._mine]
            yield Ticket(rows.tolist(), seeds[rows])
