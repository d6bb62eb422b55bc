"""Mutual information between a whole and its parts, told apart from parts of other wholes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.contrastive import own_columns
from objectives.precision import full_precision


@full_precision
def jensen_shannon(
    local: Tensor,
    whole: Tensor,
    mask: Tensor,
    *,
    all_whole: Tensor | None = None,
    offset: int | None = None,
) -> Tensor:
    """Jensen-Shannon estimator of mutual information (Hjelm 2018, arXiv 1808.06670) with dot products as scores.

    Args:
        local: (n, t, d), features of the parts.
        whole: (n, d), one vector for each row.
        mask: (n, t), zero where there is no part.
        all_whole: (m, d), the gathered wholes; the local ones if left out. Parts need no gathering, for every part is
            scored once against every whole, by the process that holds the part.
        offset: place of the first local row among the gathered ones, see `objectives.contrastive`.

    Returns:
        Minus the estimate, in nats: the mean over rows of the mean over a row's parts of softplus(-score) with the own
        whole, plus softplus(score) averaged over the m - 1 others; 2 log 2 where all scores are 0.

    Raises:
        ValueError: if there is one whole only.
    """
    all_whole = whole if all_whole is None else all_whole
    m = len(all_whole)
    if m < 2:
        raise ValueError("jensen_shannon got one row; it needs parts of other rows to tell from, so give at least 2.")
    own = own_columns(len(local), m, offset, local.device)
    scores = local @ all_whole.T  # (n, t, m)
    pair = (own[:, None] == torch.arange(m, device=local.device))[:, None]  # (n, 1, m)
    # One softplus for both: of -score with the own whole, of score with the others.
    losses = F.softplus(torch.where(pair, -scores, scores))
    losses = torch.where(pair, losses, losses / (m - 1)).sum(2)  # (n, t)
    weights = mask.to(losses.dtype)
    return ((losses * weights).sum(1) / weights.sum(1).clamp_min(1)).mean()
