"""Spherical k-means (Dhillon and Modha 2001, Machine Learning 42) over a memory bank, the same on every process.

Every process computes it all from its own copy of the bank, and nothing is sent: the copies are equal, and no sum here
is taken in an order that could differ (`index_add_` on CUDA would).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.clusters import cluster_sums
from objectives.precision import full_precision

_CELLS = 2**26  # of rows x clusters that are held at once


class Clusters(NamedTuple):
    """What k-means found."""

    centroids: Tensor  # (k, d) unit vectors
    labels: Tensor  # (m,) long, the cluster of each row


def random_rows(rows: Tensor, count: int, seed: int) -> Tensor:
    """`count` different rows (count, d) of rows (m, d) to start from, the same ones on every device."""
    draw = torch.Generator().manual_seed(seed)
    return rows[torch.randperm(len(rows), generator=draw)[:count].to(rows.device)]


@torch.no_grad()
@full_precision
def spherical_kmeans(rows: Tensor, start: Tensor, rounds: int) -> Clusters:
    """Clusters of unit vectors by cosine.

    Args:
        rows: (m, d) unit vectors, m >= k.
        start: (k, d), centroids to begin with.
        rounds: how often the centroids move.

    Returns:
        The centroids and the nearest one of each row, the first one among equals. No cluster is empty: an empty one
        takes the row of the largest cluster that fits there least.
    """
    assert len(rows) >= len(start), f"{len(rows)} rows cannot fill {len(start)} clusters"
    centroids = F.normalize(start, dim=1)
    for _ in range(rounds):
        labels, centroids = _nearest(rows, centroids)
        # The sum of unit vectors that cancel out has no direction: its cluster keeps the one it had.
        sums = cluster_sums(rows, labels, len(start))  # (k, d)
        centroids = torch.where(sums.norm(dim=1, keepdim=True) > 0, F.normalize(sums, dim=1), centroids)
    labels, centroids = _nearest(rows, centroids)
    return Clusters(centroids, labels)


def _nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (m,) of the nearest centroids, and the centroids, (k, d), with those of empty clusters put elsewhere."""
    found = [(some @ centroids.T).max(dim=1) for some in torch.split(rows, max(1, _CELLS // len(centroids)))]
    fit, labels = torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])  # (m,), (m,)
    sizes = torch.bincount(labels, minlength=len(centroids))
    for empty in (sizes == 0).nonzero().flatten().tolist():
        largest = int(sizes.argmax())
        worst = int(fit.masked_fill(labels != largest, float("inf")).argmin())
        labels[worst], fit[worst] = empty, 1.0
        sizes[largest], sizes[empty] = sizes[largest] - 1, 1
        centroids = centroids.index_copy(0, torch.tensor([empty], device=rows.device), rows[worst : worst + 1])
    return labels, centroids
