"""Objectives that need no negatives because they keep the dimensions of an embedding apart: Barlow Twins and VICReg.

Both are functions of sums over the batch: of embeddings, and of products of two of their dimensions. `total` adds such
sums up over processes. With `objectives.gather.all_reduce`, every process gets the statistics of the whole batch and
the gradient of the whole loss (case (b) of that module); d^2 numbers travel, however many rows there are.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.gather import here
from objectives.precision import full_precision

Total = Callable[[Tensor], Tensor]


@full_precision
def barlow_twins(z1: Tensor, z2: Tensor, weight: float = 0.0051, eps: float = 1e-5, *, total: Total = here) -> Tensor:
    """Barlow Twins (Zbontar 2021, arXiv 2103.03230): each dimension agrees with itself in the other view alone.

    The released code adds its matrix up without gradient, which on W processes leaves 1/W of the gradient; LARS does
    not see that, AdamW with a clipped norm does.

    Args:
        z1, z2: (n, d), two views of the same n examples.
        weight: of what is off the diagonal; 0.005 in the paper, 0.0051 in its code.
        eps: added to the (biased) variances, as by a batch norm without scale and shift.
        total: sum over processes, with gradient.

    Returns:
        sum over i of (1 - C_ii)^2 + weight * sum over i != j of C_ij^2, where C (d, d) are the correlations of z1's
        dimensions with z2's over the whole batch: 0 at the identity, d where embeddings are all equal.
    """
    (z1, z2), rows = _centred(z1, z2, total)
    d = z1.shape[1]
    sums = torch.cat([z1.square().sum(0), z2.square().sum(0), (z1.T @ z2).flatten()])  # one message
    moments = total(sums) / rows
    first, second, cross = moments[:d], moments[d : 2 * d], moments[2 * d :]
    scale = torch.outer((first + eps).rsqrt(), (second + eps).rsqrt())  # (d, d)
    correlation = cross.view(d, d) * scale
    loss: Tensor = (1 - correlation.diagonal()).square().sum() + weight * _off_diagonal(correlation).square().sum()
    return loss


@full_precision
def vicreg(
    z1: Tensor,
    z2: Tensor,
    sim: float = 25.0,
    std: float = 25.0,
    cov: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
    *,
    total: Total = here,
) -> dict[str, Tensor]:
    """VICReg (Bardes 2021, arXiv 2105.04906): views agree, dimensions vary and do not covary.

    As in the released code, where the paper differs: the squared distance is a mean over dimensions too, and the two
    views' variance terms are averaged while their covariance terms are added.

    Args:
        z1, z2: (n, d), two views of the same n examples; more than one over all processes.
        sim, std, cov: weights of the three terms.
        gamma: the deviation below which a dimension is pushed to vary more.
        eps: added to variances under the root.
        total: sum over processes, with gradient.

    Returns:
        {"loss": the weighted sum, "invariance", "variance", "covariance": the terms before their weights}. Invariance
        is that of the local rows, the others are of the whole batch (divided by its size less one).
    """
    invariance = F.mse_loss(z1, z2)
    (z1, z2), rows = _centred(z1, z2, total)
    d = z1.shape[1]
    first, second = (total(torch.stack([z1.T @ z1, z2.T @ z2])) / (rows - 1)).unbind()  # (d, d) each
    deviations = torch.cat([first.diagonal(), second.diagonal()]).add(eps).sqrt()  # (2d,)
    variance = F.relu(gamma - deviations).mean()
    covariance = (_off_diagonal(first).square().sum() + _off_diagonal(second).square().sum()) / d
    loss = sim * invariance + std * variance + cov * covariance
    return {"loss": loss, "invariance": invariance, "variance": variance, "covariance": covariance}


def _centred(z1: Tensor, z2: Tensor, total: Total) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Both views less their means over all processes, and the number of rows there."""
    # Before the products, not after: the difference of two large sums would cancel in fp32.
    sums = total(torch.cat([z1.sum(0), z2.sum(0), z1.new_full((1,), len(z1))]))
    first, second = (sums[:-1] / sums[-1]).chunk(2)  # (d,) each
    return (z1 - first, z2 - second), sums[-1]


def _off_diagonal(x: Tensor) -> Tensor:
    return x - torch.diag(x.diagonal())
