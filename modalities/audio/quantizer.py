"""The product quantiser of wav2vec 2.0 (arXiv 2006.11477) over the stock module's weights, for hidden frames only.

Codes are drawn by the Gumbel-softmax (Jang et al. 2016, arXiv 1611.01144), straight through: what goes on is the code
itself, what comes back is the gradient of the softmax.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import uniform_on_device
from objectives.precision import full_precision


class Codes(NamedTuple):
    """Frames as codes: one of v from each of g groups."""

    vectors: Tensor  # (n, m, d), the codes' vectors side by side
    chosen: Tensor  # (n, m, g) long
    soft: Tensor  # (n, m, g, v), how likely each code is, before any noise


def quantise(quantizer: Any, frames: Tensor, tau: Tensor, noise: Tensor | None, linear: bool = False) -> Codes:
    """Codes of frames (n, m, c).

    Args:
        quantizer: `Wav2Vec2GumbelVectorQuantizer`.
        tau: () temperature of the softmax that the gradient goes through.
        noise: (n, m, g * v), standard Gumbel. Without it the likeliest code is taken, and no gradient reaches the
            choice, as in evaluation.
        linear: the vectors are the codes' weighted by their scores themselves, a linear map of the frames.
    """
    groups, count = quantizer.num_groups, quantizer.num_vars
    logits = quantizer.weight_proj(frames).unflatten(2, (groups, count))  # (n, m, g, v)
    noise = None if noise is None else noise.view(logits.shape)
    hard, chosen, soft = _choose(logits, tau, noise)
    book = quantizer.codevectors.view(groups, count, -1)  # (g, v, d / g)
    weights = logits / count if linear else hard.to(book.dtype)
    vectors = torch.einsum("nmgv,gvd->nmgd", weights, book)
    return Codes(vectors.flatten(2), chosen, soft)


@full_precision
def _choose(logits: Tensor, tau: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """One code of each group as zeros and a one, with the softmax's gradient; its number; and the softmax."""
    noisy = logits if noise is None else (logits + noise.to(logits.dtype)) / tau.to(logits.dtype)
    chosen = noisy.argmax(-1)
    hard = F.one_hot(chosen, logits.shape[-1]).to(logits.dtype)
    if noise is not None:
        soft = noisy.softmax(-1)
        hard = hard + (soft - soft.detach())  # adds zeros exactly: frames of one code stay equal
    return hard, chosen, logits.softmax(-1)


def gumbel(seeds: Tensor, count: int, stream: int) -> Tensor:
    """Standard Gumbel noise, (n, count) fp32: row i depends on `seeds[i]` and `stream` alone."""
    draws = uniform_on_device(seeds, count, stream).clamp(min=2.0**-25)  # below 1 by 2**-24 at least
    return -(-draws.log()).log()


@full_precision
def perplexity(usage: Tensor) -> Tensor:
    """How many codes are in use: the exponential of the entropy of each group's codes, summed over the groups.

    usage: (g, v), each row adds up to 1. Returns () between g and g * v.
    """
    # Not torch.special.entr, whose derivative at 0 is infinite: codes that nobody takes would make all gradients NaN.
    nats = usage * usage.clamp(min=torch.finfo(usage.dtype).tiny).log()
    return nats.sum(1).neg().exp().sum()
