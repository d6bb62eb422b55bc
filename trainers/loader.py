"""From tickets to batches, in the training process or in loader workers alike."""

import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainers.config import TrainConfig
from trainers.order import GlobalOrder, Ticket
from trainers.stream import StreamOrder

Batch = dict[str, Tensor]
Collate = Callable[[list[Any], np.ndarray], Batch]


class Order(Protocol):
    """What `GlobalOrder` and `StreamOrder` share."""

    def from_step(self, start: int, stop: int) -> Iterator[Ticket]:
        """Tickets of the steps start ... stop - 1."""
        ...


def build_order(data: Any, cfg: TrainConfig, rank: int, world_size: int) -> GlobalOrder | StreamOrder:
    """The order of map-style data (it has a length) or of a stream (it has not)."""
    cfg.share(world_size)
    streamed = not hasattr(data, "__len__")
    if cfg.bucket_window and (streamed or not hasattr(data, "lengths")):
        what = "is a stream" if streamed else "does not know the lengths of its rows"
        raise ValueError(
            f"train.bucket_window {cfg.bucket_window} cannot be used: the training data {what}; set it to 0."
        )
    if not streamed:
        lengths = data.lengths if cfg.bucket_window else None
        return GlobalOrder(len(data), cfg.batch_size, cfg.seed, rank, world_size, lengths, cfg.bucket_window)
    if cfg.steps == 0:
        raise ValueError("The training data is a stream of unknown length; say how long to train with train.steps.")
    return StreamOrder(data, cfg.batch_size, cfg.lanes, cfg.shuffle_window, cfg.seed, rank, world_size)


def batches(data: Any, collate: Collate, order: Order, cfg: TrainConfig, start: int, stop: int) -> Iterator[Batch]:
    """Batches of one process for steps start ... stop - 1."""
    if cfg.workers:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive the workers' fork
    loader = DataLoader(
        _Served(data, collate),
        sampler=order.from_step(start, stop),
        batch_size=None,
        num_workers=cfg.workers,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


class _Served(Dataset[Batch]):
    def __init__(self, data: Any, collate: Collate) -> None:
        self._data, self._collate = data, collate

    def __getitem__(self, ticket: Any) -> Batch:
        rows = ticket.rows
        if hasattr(self._data, "__len__"):
            fetch = getattr(self._data, "__getitems__", None)
            rows = fetch(rows) if fetch else [self._data[row] for row in rows]
        return self._collate(rows, ticket.seeds)
