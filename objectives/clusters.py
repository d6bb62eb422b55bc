"""Predicting which cluster a picture belongs to, and how concentrated a cluster is."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.gather import here
from objectives.precision import full_precision

_CELLS = 2**26  # of rows x clusters that are held at once


@full_precision
def cluster_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, *, total: Callable[[Tensor], Tensor] = here
) -> Tensor:
    """Cross-entropy over the rows whose cluster is known.

    Args:
        logits: (n, k).
        labels: (n,) long, -1 where the cluster is not known.
        weights: (k,) of the rows of each cluster; 1 if left out.
        total: sums over processes. The mean over processes of what comes back is then the weighted mean over the rows
            of all of them, however many each knows.

    Returns:
        The weighted mean in nats; log k for equal logits, and 0 where no row is known.
    """
    known = labels >= 0
    share = known.to(logits) if weights is None else weights.to(logits)[labels] * known  # (n,)
    losses = F.cross_entropy(logits, labels, ignore_index=-1, reduction="none")  # (n,)
    everyone, processes = total(torch.stack([share.sum(), share.new_ones(())]))
    loss: Tensor = (losses * share).sum() * processes / torch.where(everyone > 0, everyone, torch.ones_like(everyone))
    return loss


@torch.no_grad()
def cluster_use(labels: Tensor, count: int) -> dict[str, Tensor]:
    """How evenly rows are spread over clusters.

    Args:
        labels: (m,) long, -1 for rows without a cluster; at least one has one. count: of clusters.

    Returns:
        clusters_used: exp of the entropy of the clusters' shares, `count` where all are of one size, 1 where one has
        all rows. largest_cluster: the share of the largest.
    """
    shares = torch.bincount(labels[labels >= 0], minlength=count).double()  # (count,)
    shares = shares / shares.sum()
    entropy: Tensor = torch.special.entr(shares).sum()
    return {"clusters_used": entropy.exp(), "largest_cluster": shares.max()}


@torch.no_grad()
@full_precision
def concentration(rows: Tensor, centroids: Tensor, labels: Tensor, temperature: float, smooth: float = 10.0) -> Tensor:
    """How far each cluster's rows lie from its centroid: a temperature for it (PCL: Li 2020, arXiv 2005.04966).

    Of the Z rows of a cluster, sum |row - centroid| / (Z log(Z + smooth)); a cluster of one row takes the largest of
    the others. As in the code released with the paper, extremes are clipped to the 10th and 90th percentiles, and all
    are scaled to a mean of `temperature`.

    Args:
        rows: (m, d). centroids: (k, d). labels: (m,) long, the cluster of each row.

    Returns:
        (k,), all `temperature` where no cluster is wider than a point.
    """
    gaps = torch.linalg.vector_norm(rows - centroids[labels], dim=1)  # (m,)
    sizes = torch.bincount(labels, minlength=len(centroids)).to(gaps)  # (k,)
    sums = cluster_sums(gaps[:, None], labels, len(centroids))[:, 0]  # (k,)
    found = torch.where(sizes > 1, sums / (sizes.clamp(min=1) * (sizes + smooth).log()), 0.0)
    found = torch.where(sizes > 1, found, found.max())
    low, high = (torch.quantile(found, share) for share in (0.1, 0.9))
    found = found.clamp(low, high)
    mean = found.mean()
    return torch.where(mean > 0, temperature * found / mean, torch.full_like(found, temperature))


@full_precision
def cluster_sums(rows: Tensor, labels: Tensor, count: int) -> Tensor:
    """The sum of the rows of each cluster, as products with their membership: `index_add_` on CUDA adds in no fixed
    order, and what one process finds has to be what the others find.

    Args:
        rows: (m, d). labels: (m,) long, the cluster of each, -1 for none. count: of clusters.

    Returns:
        (count, d).
    """
    sums = rows.new_zeros(count, rows.shape[1])
    every = torch.arange(count, device=rows.device)
    size = max(1, _CELLS // count)
    for some, theirs in zip(torch.split(rows, size), torch.split(labels, size), strict=True):
        sums += (theirs == every[:, None]).to(rows) @ some
    return sums
