"""ODC and its memories: pictures that move, centroids, small clusters that are dissolved, and the loss."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.odc import ODC, ODCConfig
from modalities.vision.joint.online_clusters import OnlineClusters, far_apart
from tests.reference import clusters as reference
from tests.vision.joint.files import TINY_VIEWS, VIT, pictures
from tests.vision.joint.test_kmeans import blobs

CFG = ODCConfig(clusters=3, width=8, least=1, rows=10)


def memories(labels: Tensor, clusters: int) -> tuple[MemoryBank, OnlineClusters]:
    """Four blobs of ten unit vectors, and clusters that need not be those."""
    rows, _ = blobs(4, 10, 8, 0.05)
    torch.manual_seed(0)
    bank, found = MemoryBank(40, 8).double(), OnlineClusters(40, clusters, 8).double()
    bank.update(torch.arange(40), rows)
    found.labels.copy_(labels)
    found.move_centroids(bank)
    return bank, found


def test_centroids_are_means_of_the_remembered() -> None:
    labels = torch.arange(40) // 10
    labels[0] = -1
    bank, found = memories(labels, 5)
    assert (found.centroids[0] - bank.rows[1:10].mean(0)).abs().max() < 1e-12
    assert not found.centroids[4].any()  # an empty one stays
    assert (found.centroids[0] - bank.rows[:10].mean(0)).abs().max() > 1e-6


def test_pictures_move_to_the_centroid_that_fits() -> None:
    bank, found = memories(torch.arange(40) // 10, 4)
    found.labels[[3, 12]] = 3
    moved = found.assign(bank, torch.tensor([3, 4, 5, 6]))
    assert float(moved) == 0.25
    assert found.labels[3] == 0 and found.labels[12] == 3  # the other was not shown


def test_small_clusters_go_to_others_and_take_half_of_the_largest() -> None:
    labels = torch.arange(40) // 10
    labels[10:20] = 0  # two blobs in one cluster
    labels[25] = 1  # and a stray of another
    bank, found = memories(labels, 4)
    assert found.dissolve_small(bank, least=2) == 1
    assert found.labels[25] == 2
    halves = found.labels[:20]
    assert sorted(set(halves.tolist())) == [0, 1]
    assert len(set(halves[:10].tolist())) == len(set(halves[10:].tolist())) == 1  # split between the blobs
    for cluster in (0, 1):
        assert (found.centroids[cluster] - bank.rows[found.labels == cluster].mean(0)).abs().max() < 1e-12
    assert found.dissolve_small(bank, least=2) == 0
    before = found.labels.clone()
    assert found.dissolve_small(bank, least=99) == 0  # all are small: there is nowhere to go
    assert torch.equal(before, found.labels)


def test_unknown_pictures_stay_unknown() -> None:
    labels = torch.full((40,), -1)
    labels[:12] = torch.tensor([0] * 8 + [1] * 3 + [2])
    bank, found = memories(labels, 3)
    found.dissolve_small(bank, least=2)
    assert (found.labels[12:] == -1).all() and found.sizes().min() >= 1


def test_far_apart_is_as_far_as_it_says() -> None:
    rows, _ = blobs(2, 10, 8, 0.05)
    first, second = far_apart(rows)
    assert float(first @ second) == pytest.approx(float((rows @ first).min()))
    assert float(first @ second) < float((rows @ rows.T).mean())


def task_of(cfg: ODCConfig = CFG) -> ODC:
    torch.manual_seed(0)
    return ODC(VIT, TINY_VIEWS, cfg).double()


def test_the_loss_weighs_by_the_root_of_the_clusters_size() -> None:
    task = task_of()
    task.partition.labels.copy_(torch.tensor([0, 0, 0, 0, 1, 1, 2, 0, -1, 0]))
    z, index = task.embed(pictures())
    weights = [6**-0.5, 2**-0.5, 1.0]
    logits, labels = task.classifier(z).tolist(), task.partition.labels[index].tolist()
    wanted = reference.cluster_cross_entropy(logits, labels, weights)
    assert abs(float(task.loss_from(z, index)["loss"].detach()) - wanted) < 1e-12
    flat = task_of(replace(CFG, reweight=0.0))
    flat.partition.labels.copy_(task.partition.labels)
    assert abs(float(flat.loss_from(z, index)["loss"].detach()) - wanted) > 1e-4


def test_clusters_begin_after_an_epoch_and_then_change_with_every_update() -> None:
    task = task_of()
    assert float(task(pictures())["loss"].detach()) == 0
    task.after_step(0.1)
    index = pictures()["index"]
    assert (task.partition.labels[index] >= 0).all() and int((task.partition.labels < 0).sum()) == 2
    batch = pictures() | {"index": torch.tensor([3, 6, 9, 0, 7, 1, 4, 8])}
    task(batch)
    task.after_step(0.2)
    assert (task.partition.labels >= 0).all()  # those that were not there before have found a cluster
    fit = F.normalize(task.bank.rows, dim=1) @ task.partition.centroids.T
    assert torch.equal(fit.argmax(1)[batch["index"]], task.partition.labels[batch["index"]])


def test_wrong_options() -> None:
    for wrong in ({"clusters": 1}, {"least": 0}, {"momentum": 1.0}, {"reweight": -1.0}, {"every": 0}, {"rows": -3}):
        with pytest.raises(ValueError, match=f"task.{next(iter(wrong))} "):
            ODCConfig(**wrong)
    with pytest.raises(ValueError, match=r"task.clusters 64 of task.least 5 pictures exceed the 100 training pictures"):
        task_of(ODCConfig(rows=100))
