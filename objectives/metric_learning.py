"""Metric learning: the contrastive objectives from before, and beside, the softmax over a batch.

Those built on Euclidean distance do not normalise: where a paper puts embeddings on the unit sphere, the caller does.
All work in fp32 (fp64 for fp64) under autocast and return a mean. Pairwise and tripletwise losses need no gathering on
several processes, since the mean over equal shards is the mean; `lifted_structured` and `soft_nearest_neighbor` compare
all rows, so gather embeddings and labels first.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.contrastive import info_nce, own_columns
from objectives.precision import full_precision


@full_precision
def margin_contrastive(a: Tensor, b: Tensor, same: Tensor, margin: float = 1.0) -> Tensor:
    """Contrastive loss (Hadsell, Chopra, LeCun 2006, CVPR): pull pairs together, push others beyond a margin.

    Args:
        a, b: (n, d).
        same: (n,) bool, whether a[i] and b[i] belong together.
        margin: the Euclidean distance beyond which a different pair costs nothing.

    Returns:
        The mean over pairs of D^2 / 2 for the same, max(0, margin - D)^2 / 2 for different ones.
    """
    distance = torch.linalg.vector_norm(a - b, dim=-1)  # (n,)
    return torch.where(same, distance.square(), F.relu(margin - distance).square()).mean() / 2


@full_precision
def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.2, *, squared: bool = True) -> Tensor:
    """Triplet loss (FaceNet, Schroff 2015, arXiv 1503.03832): nearer to the positive than to the negative.

    Args:
        anchor, positive, negative: (n, d), on the unit sphere in the paper.
        margin: by how much nearer, in the unit of the distance.
        squared: squared Euclidean distances, as in the paper; False compares the plain ones.

    Returns:
        The mean over triplets of max(0, D(anchor, positive) - D(anchor, negative) + margin).
    """
    near = torch.linalg.vector_norm(anchor - positive, dim=-1)  # (n,)
    far = torch.linalg.vector_norm(anchor - negative, dim=-1)  # (n,)
    gap = near.square() - far.square() if squared else near - far
    return F.relu(gap + margin).mean()


@full_precision
def n_pair(anchor: Tensor, positive: Tensor, l2: float = 0.0, *, offset: int | None = None) -> Tensor:
    """N-pair loss (Sohn 2016, NeurIPS): the positive of every other anchor is a negative, by plain dot products.

    Args:
        anchor: (n, d), one of each class.
        positive: (m, d); positive[offset + i] belongs to anchor[i]. m = n unless gathered.
        l2: weight of the mean squared norm of anchors plus that of positives; the scores are not normalised, and this
            keeps them from growing.
        offset: place of the first local row among gathered positives, rank() * n.

    Returns:
        The mean over anchors of log(1 + sum of exp(a.n - a.p)), in nats, plus the penalty.
    """
    own = own_columns(len(anchor), len(positive), offset, anchor.device)
    loss = info_nce(anchor, positive, 1.0, own, normalize=False)
    return loss + l2 * (anchor.square().sum(dim=-1).mean() + positive.square().sum(dim=-1).mean())


@full_precision
def lifted_structured(z: Tensor, labels: Tensor, margin: float = 1.0) -> Tensor:
    """Lifted structured loss (Oh Song 2016, arXiv 1511.06452), the smooth bound the paper trains with.

    Args:
        z: (n, d).
        labels: (n,) long.
        margin: in Euclidean distance.

    Returns:
        The mean over unordered positive pairs (i, j) of max(0, J)^2 / 2, where
        J = D_ij + log(sum over negatives k of exp(margin - D_ik) + sum over negatives l of exp(margin - D_jl)).
        0 for a batch without positive pairs or without negatives.
    """
    distance = _distances(z)  # (n, n)
    same = labels[:, None] == labels
    i, j = torch.triu(same, diagonal=1).nonzero(as_tuple=True)
    if len(i) == 0 or bool(same.all()):
        return z.sum() * 0.0  # keeps the graph, so that every rank still joins the backward
    repulsion = (margin - distance).masked_fill(same, float("-inf")).logsumexp(dim=1)  # (n,)
    cost = distance[i, j] + torch.logaddexp(repulsion[i], repulsion[j])  # (pairs,)
    return F.relu(cost).square().mean() / 2


@full_precision
def soft_nearest_neighbor(z: Tensor, labels: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Soft nearest neighbour loss (Frosst 2019, arXiv 1902.01889): sample a neighbour, is it of the same class?

    Args:
        z: (n, d).
        labels: (n,) long.
        temperature: divides squared Euclidean distances.

    Returns:
        The mean, over rows that share their class with another, of the negative log probability, in nats; the other
        rows are left out, and 0 stands for a batch without any.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    same = (labels[:, None] == labels) & ~itself  # (n, n)
    anchors = same.any(dim=1)
    if not bool(anchors.any()):
        return z.sum() * 0.0
    logits = (-_distances(z).square() / temperature).masked_fill(itself, float("-inf"))[anchors]  # (k, n)
    return (logits.logsumexp(dim=1) - logits.masked_fill(~same[anchors], float("-inf")).logsumexp(dim=1)).mean()


@full_precision
def nce(data_scores: Tensor, noise_scores: Tensor, data_log_noise: Tensor, noise_log_noise: Tensor) -> Tensor:
    """Noise-contrastive estimation (Gutmann and Hyvarinen 2010, AISTATS): is this sample data or noise?

    Args:
        data_scores: (n,) unnormalised log probability of the data under the model.
        noise_scores: (n, k) the same of k noise samples for each.
        data_log_noise: (n,) log probability of the data under the noise distribution.
        noise_log_noise: (n, k) log probability of the noise samples under it.

    Returns:
        The mean over n of the k + 1 binary cross-entropies summed, in nats; the log odds are score - log(k * noise).

    Raises:
        ValueError: if there are no noise samples.
    """
    k = noise_scores.shape[1]
    if k == 0:
        raise ValueError("nce got noise_scores of width 0; draw at least one noise sample for each row.")
    data_odds = data_scores - data_log_noise - math.log(k)  # (n,)
    noise_odds = noise_scores - noise_log_noise - math.log(k)  # (n, k)
    return -(F.logsigmoid(data_odds) + F.logsigmoid(-noise_odds).sum(dim=1)).mean()


def _distances(z: Tensor) -> Tensor:
    """(n, n) Euclidean distances from differences: the product form loses half the digits between near neighbours."""
    return torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
