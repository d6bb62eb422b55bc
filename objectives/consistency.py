"""UDA (Xie 2020, arXiv 1904.12848): a guess on an altered picture should be the guess on the picture as it is."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision
from objectives.predictive import IGNORE

Annealing = Literal["none", "log", "linear", "exp"]


@full_precision
def consistency(plain: Tensor, altered: Tensor, temperature: float, confidence: float) -> tuple[Tensor, Tensor]:
    """KL divergence of the guesses on altered inputs from the sharpened guesses on plain ones, which get no gradient.

    Args:
        plain, altered: logits (n, c) of the same n inputs.
        temperature: divides the plain logits, to sharpen them; 0.4 in the paper's CIFAR-10 runs.
        confidence: inputs whose likeliest class has no more than this probability, before sharpening, count as 0; 0.8
            there.

    Returns:
        The mean over all n inputs, in nats, and the share of them that counted.
    """
    plain = plain.detach()
    target = F.log_softmax(plain / temperature, dim=1)
    sure = F.softmax(plain, dim=1).amax(1) > confidence  # (n,)
    divergence = F.kl_div(F.log_softmax(altered, dim=1), target, reduction="none", log_target=True).sum(1)  # (n,)
    counted = sure.to(divergence.dtype)
    return (divergence * counted).mean(), counted.mean()


@torch.no_grad()
@full_precision
def withhold(logits: Tensor, labels: Tensor, threshold: float | Tensor) -> Tensor:
    """Training signal annealing: labels (n,) of inputs that are already known, and missing ones (below 0), become
    -100, which no cross-entropy counts. Known is what has more than `threshold` of its probability; logits (n, c)."""
    right = F.softmax(logits, dim=1).gather(1, labels.clamp(min=0)[:, None])[:, 0]  # (n,)
    return torch.where((labels < 0) | (right > threshold), IGNORE, labels)


def annealed(schedule: Annealing, progress: Tensor, classes: int) -> Tensor:
    """The threshold of `withhold` when the share `progress`, (), of the run is done: from 1 / classes to 1, fast at
    first (log), evenly (linear), or late (exp); above 1, so that nothing is withheld, for none."""
    if schedule == "none":
        return torch.full_like(progress, math.inf)
    if schedule == "log":
        share = 1 - torch.exp(-5 * progress)
    elif schedule == "linear":
        share = progress
    else:
        share = torch.exp(5 * (progress - 1))
    return share * (1 - 1 / classes) + 1 / classes
