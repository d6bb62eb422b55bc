"""Shuffled batch norm (MoCo: He et al. 2019, arXiv 1911.05722) without moving pictures between processes.

Queries and keys that are normalised by statistics of the same pictures can be told by them, for a key of the queue has
others. MoCo's code shuffles the keys' pictures over the GPUs, whose batch norms are local; here a row only changes the
group whose statistics it takes (`modalities.vision.batch_norm.in_groups`), so any number of processes does the same.
"""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from modalities.draws import uniform_on_device
from modalities.vision.batch_norm import in_groups
from objectives.contrastive import own_columns
from objectives.gather import gather, rank, world_size

_STREAM = 64  # of the permutation; the views have those below


def groups_in_order(seeds: Tensor, count: int) -> Tensor:
    """Groups of neighbours in the global batch: int64 (n,) in [0, count), of this process's rows, whose seeds are
    int64 (n,)."""
    n = len(seeds)
    everyone = n * world_size()
    return own_columns(n, everyone, rank() * n, seeds.device) * count // everyone


def shuffled_groups(seeds: Tensor, count: int) -> Tensor:
    """Groups of the same sizes after one permutation of the global batch, drawn from all rows' seeds; as above."""
    draws = gather(uniform_on_device(seeds, 1, _STREAM)[:, 0])  # (all n,)
    place = draws.argsort(stable=True).argsort()  # (all n,) where each row goes
    return place[rank() * len(seeds) :][: len(seeds)] * count // len(draws)


def grouped_by_view(encoder: nn.Module, groups: Tensor, count: int, views: int) -> AbstractContextManager[None]:
    """Within, the encoder takes `views` views of each row, view by view, and no group holds two views."""
    return in_groups(encoder, torch.cat([groups + view * count for view in range(views)]), count * views)


def require_groups(rows: int, count: int) -> None:
    """Raise ValueError where `rows` rows over all processes make groups of fewer than two."""
    if rows < 2 * count:
        raise ValueError(
            f"task.bn_groups {count} leaves groups of fewer than 2 of the {rows} rows of a step; give at most "
            f"{rows // 2}."
        )
