"""Images made of two: mixup (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899).

Each row is paired with another row of the whole batch, on whichever process that lies: sorted by a hash of their seeds,
each takes the next. So the pairs, and a run, are the same on any number of processes. (Micro-batches are paired among
themselves.) Each row has a share of its own.
"""

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from modalities.draws import uniform_on_device
from objectives.gather import gather, rank


@torch.no_grad()
def mixup(images: Tensor, targets: Tensor, seeds: Tensor, alpha: float, stream: int = 0) -> tuple[Tensor, Tensor]:
    """Weighted means of two images and of their targets.

    Args:
        images: float (n, 3, h, w). Every process must have equally many.
        targets: probabilities of the classes, (n, c).
        seeds: int64 (n,).
        alpha: the first image's weight is Beta(alpha, alpha).
        stream: other streams give unrelated pairs and weights.

    Returns:
        Mixed images and targets, of the same shapes.
    """
    share = _beta(uniform_on_device(seeds, 2, stream)[:, 1], alpha).to(images)  # (n,)
    other_images, other_targets = _partners(images, targets, seeds, stream)
    mixed = torch.lerp(other_images, images, share[:, None, None, None])
    return mixed, torch.lerp(other_targets, targets, share[:, None].to(targets))


@torch.no_grad()
def cutmix(images: Tensor, targets: Tensor, seeds: Tensor, alpha: float, stream: int = 0) -> tuple[Tensor, Tensor]:
    """Images with a box of another image in them, and targets weighted by the areas that are seen.

    Arguments and results as of `mixup`; the box covers a Beta(alpha, alpha) share and is cut off at the border.
    """
    h, w = images.shape[2:]
    u = uniform_on_device(seeds, 4, stream)
    side = _beta(u[:, 1], alpha).sqrt()  # (n,), of the box, as a share of the image's
    other_images, other_targets = _partners(images, targets, seeds, stream)
    inside = _between(u[:, 2], side, h)[:, :, None] & _between(u[:, 3], side, w)[:, None, :]  # (n, h, w)
    seen = inside.to(targets).mean((1, 2))[:, None]  # (n, 1), of the other image
    return torch.where(inside[:, None], other_images, images), torch.lerp(targets, other_targets, seen)


def _partners(images: Tensor, targets: Tensor, seeds: Tensor, stream: int) -> tuple[Tensor, Tensor]:
    everyone = gather(uniform_on_device(seeds, 1, stream)[:, 0])  # (m,)
    order = everyone.argsort(stable=True)
    partner = torch.empty_like(order)
    partner[order] = order.roll(-1)
    mine = partner[rank() * len(seeds) :][: len(seeds)]  # (n,)
    return gather(images)[mine], gather(targets)[mine]


def _between(centre: Tensor, share: Tensor, size: int) -> Tensor:
    """Which of `size` pixels lie in intervals of a `share` of them: (n, size)."""
    pixels = torch.arange(size, device=centre.device) + 0.5
    return (pixels - centre[:, None] * size).abs() < share[:, None] * size / 2


def _beta(u: Tensor, alpha: float) -> Tensor:
    """Uniform draws (n,) -> draws of Beta(alpha, alpha), by its inverse distribution function."""
    if alpha <= 0:
        raise ValueError(f"alpha {alpha:g} of mixup or cutmix must be positive; leave mixing out for none.")
    values = betaincinv(alpha, alpha, u.double().cpu().numpy())
    return torch.from_numpy(np.asarray(values)).to(u)
