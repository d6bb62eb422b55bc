"""MoCo's loss (He et al. 2019, arXiv 1911.05722): each query's own key against negatives that all queries share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision


@full_precision
def queue_info_nce(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor,
    temperature: float | Tensor,
    ignore: Tensor | None = None,
    own_negatives: Tensor | None = None,
    ignore_own: Tensor | None = None,
) -> Tensor:
    """InfoNCE of a query's key among that key and the negatives. Rows do not meet, so shares of processes just average.

    Args:
        queries, keys: (n, d), row i belongs to row i.
        negatives: (m, d), of all queries; m may be 0.
        temperature: divides the cosines.
        ignore: (n, m) bool, negatives left out of a query's denominator: rows that nothing was put in, say, or other
            views of its own picture.
        own_negatives: (n, s, d), more of them for each query alone.
        ignore_own: (n, s) bool, likewise.

    Returns:
        The mean over queries, in nats; 0 where no negative counts, log(1 + m + s) where all are equal.
    """
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    logits = [(queries * keys).sum(-1, keepdim=True), _without(queries @ F.normalize(negatives, dim=-1).T, ignore)]
    if own_negatives is not None:
        scores = torch.einsum("nd,nsd->ns", queries, F.normalize(own_negatives, dim=-1))
        logits.append(_without(scores, ignore_own))
    logits = [part / temperature for part in logits]
    return -F.log_softmax(torch.cat(logits, 1), 1)[:, 0].mean()


def _without(scores: Tensor, ignore: Tensor | None) -> Tensor:
    return scores if ignore is None else scores.masked_fill(ignore, float("-inf"))
