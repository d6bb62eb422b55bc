"""Balanced assignment: which prototype does each embedding belong to, if all prototypes are to be used alike?

Sinkhorn and Knopp's alternating normalisation (Cuturi 2013, arXiv 1306.0895) as SeLa (arXiv 1911.05371) and SwAV
(arXiv 2006.09882) use it. On several processes each keeps its own rows and passes `everyone=gather`:

    codes = sinkhorn(scores, everyone=gather)

Only the logarithms of k column sums travel, and the result is that of all rows on one process.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.gather import here
from objectives.precision import full_precision


@torch.no_grad()
@full_precision
def sinkhorn(
    scores: Tensor,
    epsilon: float = 0.05,
    iterations: int = 3,
    everyone: Callable[[Tensor], Tensor] = here,
    tolerance: float = 0.0,
) -> Tensor:
    """Soft assignment of rows to columns that fits the scores and gives every column the same share of all rows.

    In log space: SwAV's released exp(scores / epsilon) overflows fp32 where a score is above 88 epsilon, and columns
    that nobody scores high underflow to 0 / 0.

    Args:
        scores: (n, k), the rows of this process.
        epsilon: weight of the assignment's entropy; near 0 it becomes hard. SwAV 0.05; SeLa 1 / 25 on log p.
        iterations: of making columns even, then rows; at least 1. SwAV stops after 3, with columns not quite even.
        everyone: puts the (1, k) of all processes below one another, (world, k): `gather`.
        tolerance: stop before that where all columns' sums agree to about this share of themselves. Above 0 every
            iteration waits for the device.

    Returns:
        (n, k) without gradient; rows sum to 1, columns over all processes to nearly the same.
    """
    if iterations < 1:
        raise ValueError(f"sinkhorn got {iterations} iterations; without any, nothing is balanced: give at least 1.")
    log_q = scores / epsilon  # (n, k)
    for _ in range(iterations):
        column = everyone(log_q.logsumexp(dim=0, keepdim=True)).logsumexp(dim=0)  # (k,)
        if tolerance and float(column.max() - column.min()) < tolerance:
            break
        log_q = F.log_softmax(log_q - column, dim=1)
    return log_q.softmax(dim=1)


@full_precision
def swapped_prediction(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """SwAV's loss (Caron 2020, arXiv 2006.09882): tell the code of one view of a picture from each other view.

    Args:
        scores: (v, n, k), v views; those with a code come first.
        codes: (c, n, k), the assignments of the first c views, c <= v and v > 1. They are targets: no gradient.
        temperature: divides the scores.

    Returns:
        The mean cross-entropy over the pairs of a code and another view, in nats; log k where all scores are equal.
    """
    views, coded = len(scores), len(codes)
    if views < 2 or coded > views:
        raise ValueError(f"swapped_prediction got {coded} codes and {views} views; each code is told from other views.")
    log_p = F.log_softmax(scores / temperature, dim=-1)  # (v, n, k)
    agreement = torch.einsum("cnk,vnk->cv", codes.detach(), log_p) / scores.shape[1]  # (c, v)
    same = torch.eye(coded, views, dtype=torch.bool, device=scores.device)
    return -agreement.masked_fill(same, 0.0).sum() / (coded * (views - 1))
