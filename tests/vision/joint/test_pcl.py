"""PCL: both parts of its loss, the network that follows, and when prototypes begin."""

from dataclasses import replace
from math import log

import pytest
import torch
import torch.nn.functional as F

from modalities.vision.joint.pcl import PCL, PCLConfig
from objectives.clusters import concentration
from tests.reference import clusters as reference
from tests.reference.contrastive import info_nce
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures

CFG = PCLConfig(clusters=2, clusterings=2, width=8, wait=0, rows=10)


def task_of(cfg: PCLConfig = CFG) -> PCL:
    torch.manual_seed(0)
    return PCL(VIT, TINY_VIEWS, cfg).double()


def stepped(cfg: PCLConfig = CFG) -> PCL:
    """After its first update, and so with clusters of the eight pictures in the batch."""
    task = task_of(cfg)
    task(pictures())
    task.after_step(0.1)
    return task


def test_both_parts_equal_the_loops() -> None:
    task = stepped()
    q, k, index = task.embed(pictures())
    out = {name: float(value.detach()) for name, value in task.loss_from(q, k, index).items()}
    wanted = info_nce(q.tolist(), k.tolist(), 0.2, list(range(ROWS)))
    assert out["pictures"] == pytest.approx(wanted, abs=1e-12)
    losses = []
    for found in task._prototypes():
        logits = [
            [float(view @ centroid / own) for centroid, own in zip(found.centroids, found.concentrations, strict=True)]
            for view in F.normalize(q.detach(), dim=1)
        ]
        losses.append(reference.cluster_cross_entropy(logits, found.labels[index].tolist()))
    assert out["clusters"] == pytest.approx(sum(losses) / 2, abs=1e-12) and losses[0] != losses[1]
    assert out["loss"] == pytest.approx(wanted + sum(losses) / 2, abs=1e-12)


def test_every_clustering_has_twice_the_clusters_and_its_own_concentrations() -> None:
    coarse, fine = stepped()._prototypes()
    assert len(coarse.centroids) == 2 and len(fine.centroids) == 4
    task = stepped()
    seen = fine.labels >= 0
    wanted = concentration(task.bank.rows[seen], fine.centroids, fine.labels[seen], 0.2)
    assert torch.equal(fine.concentrations, wanted) and float(wanted.mean()) == pytest.approx(0.2)
    assert len(set(wanted.tolist())) > 1


def test_a_picture_twice_in_the_batch_is_not_its_own_negative() -> None:
    task = task_of()
    q, k, index = task.embed(pictures())
    k = k.clone()
    k[1] = k[0]
    twice = index.clone()
    twice[1] = twice[0]
    alike = [float(task.loss_from(q, k, places)["pictures"]) for places in (index, twice)]
    assert alike[1] < alike[0]


def test_prototypes_wait() -> None:
    task = stepped(replace(CFG, wait=0.2))
    assert float(task(pictures())["clusters"]) == 0
    task.after_step(0.19)
    assert float(task(pictures())["clusters"]) == 0
    task.after_step(0.2)
    assert float(task(pictures())["clusters"]) > 0


def test_the_teacher_moves_with_the_step_and_not_with_the_forward_pass() -> None:
    task = task_of()
    first = [p.clone() for p in task.teacher.parameters()]
    for weight in task.encoder.parameters():
        weight.data.add_(1.0)
    task(pictures())
    assert all(torch.equal(a, b) for a, b in zip(first, task.teacher.parameters(), strict=True))
    task.after_step(0.1)
    for before, after in zip(first, task.teacher.parameters(), strict=True):
        assert (after - before - 0.01).abs().max() < 1e-12


def test_equal_embeddings_cost_log_n() -> None:
    task = task_of()
    index = pictures()["index"]
    out = task.loss_from(torch.ones(ROWS, 8, dtype=torch.float64), torch.ones(ROWS, 8, dtype=torch.float64), index)
    assert float(out["pictures"]) == pytest.approx(log(ROWS)) and task.negatives(ROWS) == ROWS - 1


def test_a_run_without_time_for_clusters_is_refused() -> None:
    task = task_of(replace(CFG, rows=100))
    task.require(10, 15)
    task.require(10, 0)  # how long it is, is not known
    with pytest.raises(ValueError, match=r"train.steps 14 of 10 pictures .* after 10 of them; give 15 or more"):
        task.require(10, 14)


def test_wrong_options() -> None:
    for wrong in (
        {"temperature": 0.0},
        {"momentum": 1.0},
        {"clusters": 1},
        {"wait": 0.6},
        {"wait": float("nan")},
        {"rows": -3},
    ):
        with pytest.raises(ValueError, match=f"task.{next(iter(wrong))} "):
            PCLConfig(**wrong)
    with pytest.raises(ValueError, match=r"task.clusters 32, doubled up to 128, exceed the 100 training pictures"):
        task_of(PCLConfig(rows=100))
