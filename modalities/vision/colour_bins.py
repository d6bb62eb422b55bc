"""Colours as classes: the bins of the ab plane of Zhang et al. 2016, arXiv 1603.08511, and how rare each of them is.

A bin is a point of the grid with step 10 that is a corner of a square into which some 8-bit sRGB colour falls, so every
real colour lies between four bins. That makes 309; the paper counts 313 and does not state its rule.
"""

import torch
from torch import Tensor, nn

from modalities.vision.lab import rgb_to_lab
from objectives.precision import full_precision

STEP = 10.0
"""Between neighbouring bins, in units of a and b."""
SIGMA = 5.0
"""Width of the Gaussian of the soft encoding, and of the one that smooths the prior."""
NEIGHBOURS = 5
"""Bins that share a colour in the soft encoding."""
_AT_ONCE = 2048  # colours at a time, so that their distances stay in the cache
_REACH = 13  # squares on either side of grey


class ColourBins(nn.Module):
    """Soft encoding, weights of rare colours, and the way back. What it remembers are buffers.

    Args:
        uniform: share of the uniform distribution in the prior that the weights invert (lambda of the paper, 0.5); 1
            weighs every colour alike. Until `estimate` all weigh alike too.
    """

    def __init__(self, uniform: float = 0.5) -> None:
        super().__init__()
        self.uniform = uniform
        centres = in_gamut().to(torch.get_default_dtype())
        self.register_buffer("centres", centres)  # (q, 2)
        self.register_buffer("weights", torch.ones_like(centres[:, 0]))  # (q,)

    def __len__(self) -> int:
        return len(self.centres)

    @torch.no_grad()
    def encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """ab (k, 2) -> the nearest bins, nearest first, (k, 5) long, and their shares, (k, 5) with sum 1."""
        found = [self._distances(part).topk(NEIGHBOURS, largest=False) for part in ab.split(_AT_ONCE)]
        squared = torch.cat([part.values for part in found])  # (k, 5)
        return torch.cat([part.indices for part in found]), (-squared / (2 * SIGMA**2)).softmax(1)

    @torch.no_grad()
    def estimate(self, ab: Tensor) -> None:
        """Set the weights from colours (k, 2) of training images: rare ones weigh more, with mean 1 over the prior."""
        nearest = torch.cat([self._distances(part).argmin(1) for part in ab.split(_AT_ONCE)])
        prior = torch.bincount(nearest, minlength=len(self)).double() / len(ab)  # (q,)
        kernel = (-self._distances(self.centres).double() / (2 * SIGMA**2)).exp()
        prior = (kernel / kernel.sum(0)) @ prior  # every bin spreads what it has, so the sum stays 1
        weights = 1 / ((1 - self.uniform) * prior + self.uniform / len(self))
        self.weights.copy_(weights / (prior * weights).sum())

    def decode(self, logits: Tensor, temperature: float) -> Tensor:
        """Annealed mean, (n, q, h, w) -> ab (n, 2, h, w): temperature 1 is the mean, towards 0 the mode."""
        shares = (logits.to(self.centres.dtype) / temperature).softmax(1)
        return torch.einsum("nqhw,qc->nchw", shares, self.centres)

    def loss(self, logits: Tensor, bins: Tensor, shares: Tensor) -> Tensor:
        """Mean weighted cross-entropy: logits (k, q) against what `encode` gave. A place weighs as its nearest bin."""
        return (self.weights[bins[:, 0]] * soft_cross_entropy(logits, bins, shares)).mean()

    def _distances(self, ab: Tensor) -> Tensor:
        a, b = (ab[:, None, i] - self.centres[:, i] for i in (0, 1))  # (k, q) each
        return a.square_().add_(b.square_())


@full_precision
def soft_cross_entropy(logits: Tensor, bins: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy in nats with targets that few bins share: logits (k, q), bins and shares (k, m) -> (k,)."""
    return logits.logsumexp(1) - (shares * logits.gather(1, bins)).sum(1)


def in_gamut(levels: int = 256) -> Tensor:
    """The bins of sRGB with so many levels a channel, (q, 2) fp64 in rising order of a, then b."""
    value = torch.linspace(0, 1, levels, dtype=torch.float64)
    x, y = torch.meshgrid(value, value, indexing="ij")
    # The ab plane's outermost colours are on the faces of the RGB cube.
    ends = (torch.zeros_like(x), torch.ones_like(x))
    faces = [torch.stack(face) for end in ends for face in ((end, x, y), (x, end, y), (x, y, end))]
    ab = rgb_to_lab(torch.stack(faces))[:, 1:].movedim(1, -1).reshape(-1, 2)
    a, b = (ab / STEP).floor().long().unbind(1)  # the lower corner of each colour's square
    corner = torch.zeros(2 * _REACH, 2 * _REACH, dtype=torch.bool)
    for i in (0, 1):
        for j in (0, 1):
            corner[a + _REACH + i, b + _REACH + j] = True
    return (corner.nonzero() - _REACH) * torch.tensor(STEP, dtype=torch.float64)
