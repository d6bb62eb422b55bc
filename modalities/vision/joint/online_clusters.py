"""Clusters that change with every update: the memories of ODC, Zhan et al. 2020, arXiv 2006.10645."""

import torch
from torch import Tensor

from modalities.vision.joint.kmeans import spherical_kmeans
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.partition import Partition
from objectives.clusters import cluster_sums

_ROUNDS = 20  # of k-means that splits a cluster


class OnlineClusters(Partition):
    """A partition whose pictures move one by one. As in the released code, centroids are means and no unit vectors, so
    a cluster whose pictures disagree attracts less.

    Every process computes all of it from equal copies of the memories.
    """

    @torch.no_grad()
    def fit(self, bank: MemoryBank, rounds: int, seed: int) -> None:
        """See `Partition`."""
        super().fit(bank, rounds, seed)
        if self.known():
            self.move_centroids(bank)

    @torch.no_grad()
    def assign(self, bank: MemoryBank, index: Tensor) -> Tensor:
        """Give the pictures index (n,) the clusters whose centroids fit them best; returns the share that moved, ()."""
        found = (bank.rows[index] @ self.centroids.T).argmax(dim=1)  # (n,)
        moved = (found != self.labels[index]).double().mean()
        self.labels.index_copy_(0, index, found)
        return moved

    @torch.no_grad()
    def move_centroids(self, bank: MemoryBank) -> None:
        """To the means of their pictures; those of empty clusters stay."""
        sizes = self.sizes()
        means = cluster_sums(bank.rows, self.labels, len(sizes)) / sizes.clamp(min=1)[:, None]
        self.centroids.copy_(torch.where(sizes[:, None] > 0, means, self.centroids))

    def sizes(self) -> Tensor:
        """How many pictures each cluster has, (k,)."""
        return torch.bincount(self.labels[self.labels >= 0], minlength=len(self.centroids))

    @torch.no_grad()
    def dissolve_small(self, bank: MemoryBank, least: int) -> int:
        """Hand the pictures of clusters with fewer than `least` to others; each emptied cluster then takes half of the
        one that is the largest by then. Returns how many there were."""
        small = self.sizes() < least  # (k,)
        if not bool(small.any()) or bool(small.all()):
            return 0
        lost = ((self.labels >= 0) & small[self.labels]).nonzero().flatten()
        fit = (bank.rows[lost] @ self.centroids.T).masked_fill(small, float("-inf"))
        self.labels.index_copy_(0, lost, fit.argmax(dim=1))
        empty = small.nonzero().flatten().tolist()
        for cluster in empty:
            self._split_largest(bank, cluster)
        return len(empty)

    def _split_largest(self, bank: MemoryBank, empty: int) -> None:
        largest = int(self.sizes().argmax())
        members = (self.labels == largest).nonzero().flatten()
        if len(members) < 2:
            return
        rows = bank.rows[members]
        halves = spherical_kmeans(rows, far_apart(rows), _ROUNDS).labels
        self.labels.index_fill_(0, members[halves == 1], empty)
        for half, cluster in enumerate((largest, empty)):
            self.centroids[cluster] = rows[halves == half].mean(dim=0)


def far_apart(rows: Tensor) -> Tensor:
    """Two of rows (m, d) to split them by, (2, d): the one that fits their mean least, and the one that fits that one
    least. Where the released code draws, this does not."""
    first = (rows @ rows.mean(dim=0)).argmin()
    return rows[torch.stack([first, (rows @ rows[first]).argmin()])]
