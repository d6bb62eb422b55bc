"""Signs of health of an embedding: is it spread out, does it use its dimensions, what does it know?"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision

Number = TypeVar("Number", float, Tensor)


@full_precision
def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> Tensor:
    """Alignment (Wang and Isola 2020, arXiv 2005.10242): how far positives lie apart.

    Args:
        x, y: (n, d), row i of one belongs to row i of the other. Normalised here.
        alpha: power of the distance.

    Returns:
        The mean of |x - y|^alpha: 0 where all coincide, 2 for unrelated directions (alpha 2).
    """
    gap: Tensor = torch.linalg.vector_norm(F.normalize(x, dim=-1) - F.normalize(y, dim=-1), dim=-1)
    return gap.pow(alpha).mean()


@full_precision
def uniformity(x: Tensor, t: float = 2.0) -> Tensor:
    """Uniformity (Wang and Isola 2020, arXiv 2005.10242): how evenly embeddings cover the sphere.

    Args:
        x: (n, d), n > 1. Normalised here. Takes O(n^2) memory.
        t: sharpness of the Gaussian potential.

    Returns:
        log of the mean of exp(-t |x_i - x_j|^2) over pairs: 0 for a collapsed embedding, towards -2t for a uniform one.
    """
    if len(x) < 2:
        raise ValueError(f"uniformity compares pairs but got {len(x)} embedding; give at least 2.")
    exponents = -t * F.pdist(F.normalize(x, dim=-1)).square()  # (n * (n - 1) / 2,)
    return exponents.logsumexp(dim=0) - math.log(len(exponents))


@torch.no_grad()
@full_precision
def effective_rank(x: Tensor) -> Tensor:
    """Effective rank (Roy and Vetterli 2007, EUSIPCO): how many dimensions the embeddings use.

    Args:
        x: (n, d).

    Returns:
        exp of the entropy of the *singular values* of the centred matrix, divided by their sum. (Eigenvalues of the
        covariance are their squares and give a smaller number.) Between 1 and min(n - 1, d); 0 if all rows are equal;
        NaN where a number is not finite.
    """
    centred = x - x.mean(dim=0)
    if not bool(centred.isfinite().all()):  # of which the decomposition would raise an error
        return centred.new_full((), math.nan)
    values = torch.linalg.svdvals(centred)  # (min(n, d),)
    # Equal rows leave rounding noise behind, whose spectrum is flat: it would pass for a rich embedding.
    noise = torch.finfo(x.dtype).eps * max(x.shape) * torch.linalg.matrix_norm(x)
    values = torch.where(values > noise, values, 0.0)
    if not bool(values.any()):
        return values.sum()
    entropy: Tensor = torch.special.entr(values / values.sum()).sum()
    return entropy.exp()


@full_precision
def embedding_std(x: Tensor) -> Tensor:
    """Standard deviation of normalised embeddings, averaged over dimensions (SimSiam, Chen 2020, arXiv 2011.10566).

    Args:
        x: (n, d).

    Returns:
        0 for a collapsed embedding, 1 / sqrt(d) for one spread evenly over the sphere.
    """
    return F.normalize(x, dim=-1).std(dim=0, correction=0).mean()


def mutual_information_bound(loss: Number, n: int | Tensor) -> Number:
    """InfoNCE's lower bound on mutual information (van den Oord 2018, arXiv 1807.03748): log n - loss.

    Args:
        loss: mean InfoNCE in nats, or a loss for each query.
        n: number of candidates, the positive included. The bound cannot exceed log n. Where it differs between
            queries, a tensor that broadcasts against their losses.
    """
    return (n.double().log().to(loss) if isinstance(n, Tensor) and isinstance(loss, Tensor) else math.log(n)) - loss
