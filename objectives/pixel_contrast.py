"""Contrast between places of two views of a picture: Dense Object Nets, Florence et al. 2018, arXiv 1806.08756.

All return a sum and a count instead of a mean, as how many matches and non-matches there are differs between rows and
processes: divide by the count of all processes.
"""

import torch
from torch import Tensor

from objectives.precision import full_precision

Terms = tuple[Tensor, Tensor]


@full_precision
def matches(anchors: Tensor, positives: Tensor, matched: Tensor) -> Terms:
    """Squared distances of descriptors that show the same point.

    Args:
        anchors, positives: (..., d).
        matched: (...) bool, which pairs count.

    Returns:
        Their sum, and the number of pairs.
    """
    squared = (anchors - positives).square().sum(-1)
    return squared.masked_fill(~matched, 0.0).sum(), matched.sum()


@full_precision
def non_matches(anchors: Tensor, others: Tensor, apart: Tensor, margin: float) -> Terms:
    """max(0, margin - distance)^2 of descriptors that show different points.

    Args:
        anchors: (n, k, d).
        others: (n, q, d).
        apart: (n, k, q) bool, which pairs count.
        margin: how far apart is far enough.

    Returns:
        The sum, and the number of pairs that are nearer than the margin: the paper divides by these alone ("hard
        negatives"), so that many easy ones do not drown them.
    """
    short = (margin - distances(anchors, others)).clamp(min=0) * apart  # (n, k, q)
    return short.square().sum(), (short > 0).sum()


@full_precision
def pixel_nce(
    anchors: Tensor, positives: Tensor, others: Tensor, matched: Tensor, apart: Tensor, temperature: float
) -> Terms:
    """InfoNCE (arXiv 1807.03748) of every anchor's match among its non-matches, with dot products as scores.

    Args:
        anchors, positives: (n, k, d).
        others: (n, q, d).
        matched: (n, k) bool, which anchors count.
        apart: (n, k, q) bool, which of the others are non-matches of an anchor.
        temperature: divides the scores.

    Returns:
        The sum in nats, and the number of anchors.
    """
    right = (anchors * positives).sum(-1, keepdim=True)  # (n, k, 1)
    wrong = (anchors @ others.transpose(1, 2) / temperature).masked_fill(~apart, float("-inf"))  # (n, k, q)
    scores = torch.cat([right / temperature, wrong], -1)
    losses = scores.logsumexp(-1) - scores[..., 0]
    return losses.masked_fill(~matched, 0.0).sum(), matched.sum()


def distances(anchors: Tensor, others: Tensor) -> Tensor:
    """Euclidean, (n, k, q) of (n, k, d) and (n, q, d). Where two are equal, the gradient is 0."""
    squares = anchors.square().sum(-1)[:, :, None] + others.square().sum(-1)[:, None]
    squared = squares - 2 * anchors @ others.transpose(1, 2)
    return squared.clamp(min=torch.finfo(squared.dtype).eps).sqrt()
