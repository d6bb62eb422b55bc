"""A division of all training pictures into clusters, found in a memory bank, and when to find it anew."""

import math

import torch
from torch import Tensor, nn

from modalities.vision.joint.kmeans import random_rows, spherical_kmeans
from modalities.vision.joint.memory_bank import MemoryBank
from objectives.clusters import cluster_use

_TIME = 1.5  # times what passes until the first clusters, so that a third of the run is left to learn from them


class Clock(nn.Module):
    """Says after which updates to cluster: after each `every`-th, or, where that is 0, whenever the next batch would
    show more pictures than there are. That is after the last update of an epoch, whatever the size of a batch."""

    updates: Tensor  # () int64
    shown: Tensor  # () int64, pictures since the last time

    def __init__(self, every: int, rows: int) -> None:
        super().__init__()
        self.every, self.rows = every, rows
        for name in ("updates", "shown"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    def require(self, rows: int, steps: int, clusters: int) -> None:
        """Raise ValueError where a run of `steps` updates (0: not known), of `rows` pictures each over all processes,
        has less than a third left once it is time to cluster and as many pictures as clusters have been shown."""
        seen = -(-clusters // rows)  # updates
        first = self.every * -(-seen // self.every) if self.every else max(1, self.rows // rows)
        least = math.ceil(_TIME * first)
        if 0 < steps < least:
            raise ValueError(
                f"train.steps {steps} of {rows} pictures end too soon after the first clusters, which are found after "
                f"{first} of them; give {least} or more."
            )

    def tick(self, rows: int) -> bool:
        """To be called once per update, with its number of pictures over all processes."""
        self.updates += 1
        self.shown += rows
        due = int(self.updates) % self.every == 0 if self.every else int(self.shown) + rows > self.rows
        if due:
            self.shown.zero_()
        return due


class Partition(nn.Module):
    """The cluster of every training picture, and the clusters' centroids."""

    centroids: Tensor  # (k, d)
    labels: Tensor  # (m,) int64, -1 where a picture has no cluster yet

    def __init__(self, rows: int, clusters: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(clusters, width))
        self.register_buffer("labels", torch.full((rows,), -1))

    @torch.no_grad()
    def fit(self, bank: MemoryBank, rounds: int, seed: int) -> None:
        """Divide the pictures that the bank has seen, in place. With fewer of them than clusters, all stays as it is.

        rounds: of k-means. seed: of the rows that it starts from.
        """
        seen = bank.seen.nonzero().flatten()
        if len(seen) < len(self.centroids):
            return
        rows = bank.rows[seen]
        found = spherical_kmeans(rows, random_rows(rows, len(self.centroids), seed), rounds)
        self.centroids.copy_(found.centroids)
        self.labels.fill_(-1)
        self.labels.index_copy_(0, seen, found.labels)

    def known(self) -> bool:
        """Whether there are clusters yet."""
        return bool((self.labels >= 0).any())

    def use(self) -> dict[str, Tensor]:
        """Signs of health to log: see `cluster_use`; none while there are no clusters."""
        return cluster_use(self.labels, len(self.centroids)) if self.known() else {}
