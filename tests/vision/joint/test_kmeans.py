"""Spherical k-means against loops and scikit-learn, without empty clusters, the same every time."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from modalities.vision.joint import kmeans
from modalities.vision.joint.kmeans import random_rows, spherical_kmeans
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.partition import Clock, Partition
from objectives import clusters as sums
from tests.reference import clusters as reference


def blobs(count: int, each: int, width: int, noise: float) -> tuple[Tensor, Tensor]:
    """Unit vectors (count*each, width) about `count` directions, and which one each is about."""
    draw = torch.Generator().manual_seed(0)
    middles = F.normalize(torch.randn(count, width, generator=draw, dtype=torch.float64), dim=1)
    truth = torch.arange(count).repeat_interleave(each)
    around = noise * torch.randn(count * each, width, generator=draw, dtype=torch.float64)
    return F.normalize(middles[truth] + around, dim=1), truth


def test_equals_the_loop() -> None:
    rows, _ = blobs(4, 10, 5, 0.4)
    start = random_rows(rows, 4, seed=3)
    centroids, labels = reference.spherical_kmeans(rows.tolist(), start.tolist(), 3)
    found = spherical_kmeans(rows, start, 3)
    assert (found.centroids - torch.tensor(centroids, dtype=torch.float64)).abs().max() < 1e-12
    assert found.labels.tolist() == labels
    early = spherical_kmeans(rows, start, 1)  # the broken twin: it had not come to rest after one round
    assert (early.centroids - found.centroids).abs().max() > 1e-3


def test_finds_what_scikit_learn_finds_in_easy_blobs() -> None:
    rows, truth = blobs(6, 40, 16, 0.1)
    theirs = KMeans(6, n_init=1, init=rows[::40].numpy()).fit_predict(rows.numpy())
    ours = spherical_kmeans(rows, rows[::40], 10).labels
    assert adjusted_rand_score(theirs, ours.numpy()) == 1 and adjusted_rand_score(truth.numpy(), ours.numpy()) == 1
    assert adjusted_rand_score(truth.numpy(), ours.roll(1).numpy()) < 1


@pytest.mark.parametrize("rows", [blobs(2, 20, 8, 0.05)[0], torch.ones(40, 4).double() / 2], ids=["two", "one"])
def test_no_cluster_is_empty(rows: Tensor) -> None:
    start = torch.cat([rows[:1], -rows[:1].expand(4, -1)])
    assert torch.bincount((rows @ start.T).argmax(1), minlength=5).min() == 0  # without care some are
    found = spherical_kmeans(rows, start, 4)
    assert torch.bincount(found.labels, minlength=5).min() > 0
    assert (found.centroids.norm(dim=1) - 1).abs().max() < 1e-12


def test_an_empty_cluster_takes_the_worst_row_of_the_largest() -> None:
    rows = F.normalize(torch.tensor([[1.0, 0], [1, 0.1], [1, -0.1], [1, 1], [-1, 0], [-1, 0.1]]), dim=1)
    start = torch.tensor([[1.0, 0], [-1, 0], [0, -1]])
    found = spherical_kmeans(rows, start, 1)
    assert found.labels.tolist() == [0, 0, 0, 2, 1, 1]


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = blobs(4, 10, 5, 0.4)
    start = random_rows(rows, 4, seed=3)
    whole = spherical_kmeans(rows, start, 3)
    for module in (kmeans, sums):
        monkeypatch.setattr(module, "_CELLS", 28)  # seven rows at a time
    parts = spherical_kmeans(rows, start, 3)
    assert (whole.centroids - parts.centroids).abs().max() < 1e-12 and torch.equal(whole.labels, parts.labels)


def test_the_seed_says_where_it_starts() -> None:
    rows = blobs(4, 10, 5, 0.4)[0]
    first, again, other = (random_rows(rows, 6, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(torch.unique(first, dim=0)) == 6


def partition_of(seen: int) -> Partition:
    bank, found = MemoryBank(12, 4), Partition(12, 3, 4)
    bank.update(torch.arange(seen), torch.randn(seen, 4, generator=torch.Generator().manual_seed(0)))
    found.fit(bank, rounds=3, seed=0)
    return found


def test_only_pictures_that_were_seen_have_a_cluster() -> None:
    found = partition_of(seen=9)
    assert found.known() and (found.labels[:9] >= 0).all() and (found.labels[9:] == -1).all()
    assert 1 < float(found.use()["clusters_used"]) <= 3


def test_fewer_pictures_than_clusters_wait() -> None:
    found = partition_of(seen=2)
    assert not found.known() and found.use() == {} and not found.centroids.any()


def test_the_clock_strikes_once_an_epoch() -> None:
    def strikes(every: int, rows: int, count: int) -> list[int]:
        clock = Clock(every, rows)
        return [update for update in range(1, count + 1) if clock.tick(4)]

    assert strikes(0, 12, 9) == [3, 6, 9]
    assert strikes(0, 14, 9) == [3, 6, 9]  # two pictures are left over, and a new order begins
    assert strikes(5, 12, 11) == [5, 10]
    assert strikes(0, 3, 2) == [1, 2]
