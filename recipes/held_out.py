"""A task's own question, asked of held-out rows: the same rows and the same draws each time."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from modalities.draws import mix

_SEED = 0x9E11  # of the views and masks of held-out rows, the same ones in every run


class Rows(Protocol):
    """An indexable set of rows."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitems__(self, indices: list[int]) -> Sequence[Any]:
        """Those at `indices`."""
        ...


@torch.no_grad()
def held_out(task: nn.Module, collate: Any, rows: Rows, size: int, accelerator: Accelerator) -> dict[str, float]:
    """Every scalar of the task's forward over held-out rows, with the same draws each time. All processes take part.

    Whole batches of `size` rows only, or all rows where there are fewer: a loss that compares the rows of a batch
    depends on how many they are.
    """
    processes = accelerator.num_processes
    share = min(size, len(rows)) // processes
    if share == 0:
        return {}
    found: list[dict[str, Tensor]] = []
    seeds = mix(np.arange(len(rows), dtype=np.uint64) + np.uint64(_SEED))
    for start in range(0, count_asked(rows, size, processes), share * processes):
        first = start + accelerator.process_index * share
        places = list(range(first, first + share))
        batch = collate(rows.__getitems__(places), seeds[places])
        with accelerator.autocast():
            found.append(task({name: tensor.to(accelerator.device) for name, tensor in batch.items()}))
    weights = torch.stack([out.get("count", torch.ones(())).detach().double().cpu() for out in found])
    names = sorted(found[0].keys() - {"count"})
    sums = torch.stack([sum(w * out[n].double().cpu() for w, out in zip(weights, found, strict=True)) for n in names])
    total = accelerator.reduce(torch.cat([sums, weights.sum()[None]]).to(accelerator.device), "sum")
    return {name: float(value / total[-1]) for name, value in zip(names, total, strict=False)}


def count_asked(rows: Rows, size: int, processes: int) -> int:
    """How many of the rows `held_out` asks: those of whole batches."""
    batch = min(size, len(rows)) // processes * processes
    return len(rows) // batch * batch if batch else 0
