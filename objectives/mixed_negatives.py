"""MoCHi (Kalantidis et al. 2020, arXiv 2010.01028): negatives that are harder than any of the queue, mixed from it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision


def draws_needed(mixed: int, mixed_with_query: int) -> int:
    """How many draws per query `mixed_negatives` takes."""
    return 3 * mixed + 2 * mixed_with_query


@torch.no_grad()
@full_precision
def mixed_negatives(
    queries: Tensor,
    negatives: Tensor,
    draws: Tensor,
    *,
    mixed: int,
    mixed_with_query: int,
    hardest: int,
    ignore: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Unit vectors between the hardest negatives of each query, and between these and the query. Without gradient.

    Args:
        queries: (n, d).
        negatives: (m, d).
        draws: (n, `draws_needed`) in [0, 1).
        mixed: s, how many mixes of two of the hardest; their shares are any.
        mixed_with_query: s', how many of one of the hardest with the query, whose share is below a half.
        hardest: how many of the m are drawn from; at most m.
        ignore: (n, m) bool, negatives that do not count for a query.

    Returns:
        (n, s + s', d), and (n, s + s') bool, which of them have a part that does not count.
    """
    queries, negatives = F.normalize(queries, dim=-1), F.normalize(negatives, dim=-1)
    scores = queries @ negatives.T  # (n, m)
    if ignore is not None:
        scores = scores.masked_fill(ignore, float("-inf"))
    top, order = scores.topk(hardest, dim=1)  # (n, h) each
    draws = draws.to(queries)
    pick_a, pick_b, share, pick, share_of_query = torch.split(draws, [mixed] * 3 + [mixed_with_query] * 2, 1)

    def drawn(pick: Tensor) -> tuple[Tensor, Tensor]:
        place = (pick * hardest).long()  # (n, s)
        return negatives[order.gather(1, place)], top.gather(1, place).isinf()  # (n, s, d), (n, s)

    (a, no_a), (b, no_b), (single, no_single) = drawn(pick_a), drawn(pick_b), drawn(pick)
    share, half = share[..., None], share_of_query[..., None] / 2
    between = share * a + (1 - share) * b  # (n, s, d)
    towards = half * queries[:, None] + (1 - half) * single  # (n, s', d)
    return F.normalize(torch.cat([between, towards], 1), dim=-1), torch.cat([no_a | no_b, no_single], 1)
