"""NT-Xent whose negatives are weighed: the hard ones more, and without the share that are no negatives at all."""

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.contrastive import own_columns
from objectives.precision import full_precision


@full_precision
def hard_nt_xent(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor,
    hardness: float = 0.0,
    prior: float = 0.0,
    *,
    all_z1: Tensor | None = None,
    all_z2: Tensor | None = None,
    offset: int | None = None,
) -> Tensor:
    """Debiased (Chuang 2020, arXiv 2007.00224) and hard (Robinson 2021, arXiv 2010.04592) contrast of two views.

    For an embedding with cosine p to its other view and cosines s_k to the M = 2m - 2 other embeddings, in units of the
    temperature, the negatives' part of the denominator is

        M * max((sum_k w_k exp(s_k) - prior * exp(p)) / (1 - prior), exp(-1 / temperature)),
        w_k = exp(hardness * s_k) / sum_j exp(hardness * s_j),

    the second of the two being the least that any true negatives can come to. With hardness and prior 0 it is
    `contrastive.nt_xent`. As in the authors' code, hardness multiplies cosines that are divided by the temperature, and
    the weights have a gradient.

    Args:
        z1, z2: (n, d), two views of the same n examples.
        temperature: divides the cosines.
        hardness: beta; 0 weighs all negatives alike. Not negative.
        prior: tau+, the probability that another example is of the same class, in [0, 1).
        all_z1, all_z2: (m, d), the gathered views; the local ones if left out. m is at least 2.
        offset: see `objectives.contrastive`.

    Returns:
        The mean over the 2n embeddings, in nats; log(2m - 1) when all are equal.
    """
    all_z1, all_z2 = z1 if all_z1 is None else all_z1, z2 if all_z2 is None else all_z2
    m = len(all_z1)
    own = own_columns(len(z1), m, offset, z1.device)
    columns = torch.arange(2 * m, device=z1.device) % m
    queries, keys = F.normalize(torch.cat([z1, z2]), dim=1), F.normalize(torch.cat([all_z1, all_z2]), dim=1)
    scores = queries @ keys.T / temperature  # (2n, 2m)
    positive = scores.gather(1, torch.cat([own + m, own])[:, None])  # (2n, 1)
    same = own.repeat(2)[:, None] == columns  # (2n, 2m), itself and its other view
    negatives = scores.masked_fill(same, float("-inf"))
    # The largest term becomes 1, or a low temperature would overflow.
    largest = torch.maximum(positive, negatives.amax(1, keepdim=True)).detach()  # (2n, 1)
    weights = torch.softmax((hardness * scores).masked_fill(same, float("-inf")), dim=1)  # (2n, 2m)
    of_positive = (positive - largest).exp()
    estimate = (weights * (negatives - largest).exp()).sum(1, keepdim=True)
    estimate = (estimate - prior * of_positive) / (1 - prior)
    least = (-1 / temperature - largest).exp()
    denominator = of_positive + (2 * m - 2) * torch.maximum(estimate, least)
    return (denominator.log() + largest - positive).mean()
