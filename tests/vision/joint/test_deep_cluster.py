"""DeepCluster: targets, when clusters are found, and what it does before there are any."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from modalities.vision.joint.deep_cluster import DeepCluster, DeepClusterConfig
from tests.reference import clusters as reference
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures

CFG = DeepClusterConfig(clusters=3, clusterings=2, width=8, rows=10)


def task_of(cfg: DeepClusterConfig = CFG, small: int = 0) -> DeepCluster:
    torch.manual_seed(0)
    return DeepCluster(VIT, replace(TINY_VIEWS, small_count=small), cfg).double()


def clustered(small: int = 0) -> DeepCluster:
    """One that has clusters of all but one of the pictures in the batch."""
    task = task_of(small=small)
    for bank in task._banks():
        bank.seen[[5, 2, 9, 0, 7, 1, 4]] = True
    task.cluster()
    return task


@pytest.mark.parametrize("small", [0, 2])
def test_every_view_is_classified_by_its_pictures_cluster(small: int) -> None:
    task = clustered(small)
    z, index = task.embed(pictures())
    assert z.shape == (ROWS, 2 + small, 8)
    losses = []
    for partition in task._partitions():
        logits, labels = [], []
        for row, place in zip(z.detach(), index.tolist(), strict=True):
            for view in F.normalize(row, dim=1):
                logits.append((partition.centroids @ view / 0.1).tolist())
                labels.append(int(partition.labels[place]))
        losses.append(reference.cluster_cross_entropy(logits, labels))
    assert abs(float(task.loss_from(z, index)["loss"].detach()) - sum(losses) / 2) < 1e-12
    assert abs(float(task.loss_from(z, index.roll(1))["loss"].detach()) - sum(losses) / 2) > 1e-3


def test_views_of_a_picture_stand_together() -> None:
    task = task_of(small=1).eval()
    batch = pictures()
    z = task.embed(batch)[0]
    one = task.embed({name: value[3:4] for name, value in batch.items()})[0]
    # In eval mode rows do not meet in batch norms.
    assert (z[3] - one[0]).abs().max() < 1e-12 and (z[2] - one[0]).abs().max() > 1e-6


def test_banks_are_of_first_and_second_views_and_clusterings_take_turns() -> None:
    task = task_of(replace(CFG, every=1))
    z = F.normalize(task.embed(pictures())[0].detach(), dim=2)
    task(pictures())
    task.after_step(0.1)
    for place, bank in enumerate(task._banks()):
        assert (bank.rows[pictures()["index"]] - z[:, place]).abs().max() < 1e-12
    for place, partition in enumerate(task._partitions()):
        rows = task._banks()[place].rows
        known = partition.labels >= 0
        assert torch.equal((rows[known] @ partition.centroids.T).argmax(1), partition.labels[known])
        assert int(known.sum()) == ROWS


def test_before_the_first_clustering_the_loss_and_its_gradient_are_zero() -> None:
    task = task_of()
    out = task(pictures())
    out["loss"].backward()
    assert float(out["loss"].detach()) == 0 and "clusters_used" not in out
    assert all(p.grad is not None and not p.grad.any() for p in task.parameters())
    task.after_step(0.1)
    out = task(pictures())  # eight of ten pictures are an epoch
    assert float(out["loss"].detach()) > 0 and 1 < float(out["clusters_used"]) <= 3


def test_a_skipped_step_moves_nothing() -> None:
    task = task_of()
    before = {name: value.clone() for name, value in task.named_buffers()}
    task(pictures())
    assert all(torch.equal(value, before[name]) for name, value in task.named_buffers() if "running" not in name
               and "num_batches" not in name)  # fmt: skip


def test_wrong_options() -> None:
    for wrong in ({"temperature": 0.0}, {"clusters": 1}, {"clusterings": 0}, {"every": -1}, {"rows": -3}):
        with pytest.raises(ValueError, match=f"task.{next(iter(wrong))} "):
            DeepClusterConfig(**wrong)
    with pytest.raises(ValueError, match=r"task.clusters 64 exceeds the 10 training pictures"):
        task_of(DeepClusterConfig(rows=10))
