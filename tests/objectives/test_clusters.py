"""Predicting clusters and their concentration: against loops, at known values, over several shares of the rows."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.clusters import cluster_cross_entropy, cluster_sums, cluster_use, concentration
from tests.reference import clusters as reference

N, K, D = 12, 4, 5


def example() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(N, K, generator=draw, dtype=torch.float64)
    labels = torch.tensor([0, 1, -1, 3, 2, -1, 0, 0, 1, 3, 3, -1])
    return logits, labels, torch.tensor([0.5, 1.0, 2.0, 0.1], dtype=torch.float64)


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_equals_the_loop(weighted: bool) -> None:
    logits, labels, weights = example()
    given = weights if weighted else None
    wanted = reference.cluster_cross_entropy(logits.tolist(), labels.tolist(), weights.tolist() if weighted else None)
    assert abs(float(cluster_cross_entropy(logits, labels, given)) - wanted) < 1e-12
    other = labels.clamp(min=0)  # the broken twin: what is not known counts as the first cluster
    assert abs(float(cluster_cross_entropy(logits, other, given)) - wanted) > 1e-3


def test_a_guess_costs_log_k_and_nothing_known_costs_nothing() -> None:
    logits = torch.zeros(N, K, requires_grad=True)
    assert float(cluster_cross_entropy(logits.detach(), torch.arange(N) % K)) == pytest.approx(log(K))
    loss = cluster_cross_entropy(logits, torch.full((N,), -1))
    loss.backward()  # type: ignore[no-untyped-call]
    # A gradient of zero, and not none: a process without it would leave the others waiting.
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_shares_with_unequal_numbers_of_known_rows_add_up() -> None:
    logits, labels, weights = example()
    wanted = float(cluster_cross_entropy(logits, labels, weights))
    halves = [slice(0, 6), slice(6, N)]
    first, second = (weights[labels[half]][labels[half] >= 0].sum() for half in halves)
    assert first != second

    def total(x: Tensor) -> Tensor:
        return torch.stack([first + second, x[1] * 2])

    parts = [float(cluster_cross_entropy(logits[half], labels[half], weights, total=total)) for half in halves]
    assert sum(parts) / 2 == pytest.approx(wanted, abs=1e-12)
    alone = [float(cluster_cross_entropy(logits[half], labels[half], weights)) for half in halves]
    assert abs(sum(alone) / 2 - wanted) > 1e-3  # the broken twin: a mean of means


def test_the_gradient_is_right() -> None:
    logits, labels, weights = (x[:4] for x in example())
    assert (labels < 0).any()
    assert torch.autograd.gradcheck(lambda x: cluster_cross_entropy(x, labels, weights), logits.requires_grad_())


def clustered() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    rows = F.normalize(torch.randn(30, D, generator=draw, dtype=torch.float64), dim=1)
    centroids = F.normalize(torch.randn(6, D, generator=draw, dtype=torch.float64), dim=1)
    labels = (rows @ centroids.T).argmax(1)
    labels[labels == 5] = 0
    labels[0] = 5  # a cluster of one
    return rows, centroids, labels


def test_concentration_equals_the_loop() -> None:
    rows, centroids, labels = clustered()
    wanted = torch.tensor(reference.concentration(rows.tolist(), centroids.tolist(), labels.tolist(), 0.2))
    found = concentration(rows, centroids, labels, 0.2)
    assert (found - wanted).abs().max() < 1e-7  # the loop's list becomes single precision
    assert float(found.mean()) == pytest.approx(0.2)
    assert found[5] == found.max()
    assert (concentration(rows, centroids, labels, 0.2, smooth=1.0) - wanted).abs().max() > 1e-3  # the broken twin


def test_concentration_of_points_is_the_temperature() -> None:
    centroids = torch.eye(3)
    assert concentration(centroids, centroids, torch.arange(3), 0.2).tolist() == pytest.approx([0.2] * 3)
    assert concentration(centroids[[0, 0, 1, 2]], centroids, torch.tensor([0, 0, 1, 2]), 0.2).isfinite().all()


def test_sums_are_those_of_index_add() -> None:
    rows, _, labels = clustered()
    labels[3] = -1
    wanted = torch.zeros(6, D, dtype=torch.float64).index_add_(0, labels[labels >= 0], rows[labels >= 0])
    assert (cluster_sums(rows, labels, 6) - wanted).abs().max() < 1e-12
    assert (cluster_sums(rows, labels.clamp(min=0), 6) - wanted).abs().max() > 1e-3


def test_use_of_clusters() -> None:
    even = cluster_use(torch.tensor([0, 1, 2, 3, -1, -1]), 4)
    assert float(even["clusters_used"]) == pytest.approx(4) and float(even["largest_cluster"]) == 0.25
    one = cluster_use(torch.tensor([2, 2, 2, -1]), 4)
    assert float(one["clusters_used"]) == 1 and float(one["largest_cluster"]) == 1


def test_half_precision_is_widened() -> None:
    logits, labels, _ = example()
    with torch.autocast("cpu", torch.bfloat16):
        assert cluster_cross_entropy(logits.bfloat16(), labels).dtype == torch.float32
