"""Cross-entropy of tokens to be predicted: masked ones (BERT, arXiv 1810.04805), next ones (GPT), and replaced ones
(ELECTRA, arXiv 2003.10555).

Every function returns (sum, count), for the mean must be taken over all tokens of the whole step: on several processes,
or over accumulated micro-batches, the mean of means weighs a token by how few others happened to be beside it. Labels
of -100 are not predicted. Positions are picked before anything as wide as the vocabulary is computed.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision

IGNORE = -100


def next_token_labels(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """The token after each position: what a causal language model has to say there.

    Args:
        tokens: (n, t) long; -100 is never a target, so the first token of each packed document can be set to it.
        mask: (n, t), zero at padding, on either side.

    Returns:
        (n, t) long: tokens shifted left by one, -100 in the last place and wherever either of the two is padding.
    """
    labels = torch.full_like(tokens, IGNORE)
    labels[:, :-1] = tokens[:, 1:]
    if mask is not None:
        real = mask.bool()
        labels[:, :-1] = labels[:, :-1].masked_fill(~(real[:, 1:] & real[:, :-1]), IGNORE)
    return labels


def masked_cross_entropy(
    hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy where `labels` says so (BERT, arXiv 1810.04805).

    Args:
        hidden: (..., d) with `head`, else logits (..., c).
        labels: (...) long, -100 where nothing is predicted.
        head: maps the k picked rows (k, d) to logits (k, c), so a vocabulary of 30,000 is scored at 15 % of the
            positions only.

    Returns:
        Sum in nats (fp32, fp64 for fp64) and count (long). With nothing to predict they are 0 and 0, and the sum still
        has a graph, through `head` as well.
    """
    if hidden.shape[:-1] != labels.shape:
        raise ValueError(
            f"masked_cross_entropy got labels of shape {tuple(labels.shape)} for hidden states of shape "
            f"{tuple(hidden.shape)}; give one label for each position."
        )
    picked = labels != IGNORE
    logits = hidden[picked]  # (k, d)
    if head is not None:
        logits = head(logits)  # (k, c)
    targets = labels[picked]
    return _summed_cross_entropy(logits, targets), picked.sum()


def next_token_cross_entropy(logits: Tensor, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each next token (GPT, Radford 2018).

    Args:
        logits: (n, t, c).
        tokens: (n, t) long, the model's *input*, unshifted.
        mask: (n, t), zero at padding.

    Returns:
        Sum and count, as `masked_cross_entropy`.
    """
    return masked_cross_entropy(logits, next_token_labels(tokens, mask))


@full_precision
def _summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="sum")


def replaced_tokens(scores: Tensor, replaced: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of telling replaced tokens from original ones (ELECTRA, arXiv 2003.10555).

    Args:
        scores: (n, t), above 0 for replaced.
        replaced: (n, t) bool.
        real: (n, t) bool, false at padding, which is not asked about.

    Returns:
        Sum and count, as `masked_cross_entropy`.
    """
    return _summed_binary(scores[real], replaced[real]), real.sum()


@full_precision
def _summed_binary(scores: Tensor, replaced: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, replaced.to(scores.dtype), reduction="sum")


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None, *, chunk: int = 512
) -> tuple[Tensor, Tensor]:
    """A linear head and its cross-entropy in one, without ever holding all logits.

    The sum's gradient is worked out chunk by chunk beside the sum itself, so the peak is (chunk, c) instead of several
    times (n * t, c). With `next_token_labels` it is GPT's loss, with the head tied to the embedding or not.

    Args:
        hidden: (..., d). The products run in its dtype, or in autocast's; the softmax in fp32 (fp64 for fp64).
        weight: (c, d).
        labels: (...) long, -100 where nothing is predicted.
        bias: (c,).
        chunk: positions scored at a time.

    Returns:
        Sum and count, as `masked_cross_entropy`. The sum cannot be differentiated twice: torch raises an error.
    """
    picked = labels != IGNORE
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    # An evaluation needs no gradient, though the weights it passes in ask for one: only the grad mode tells.
    learning = torch.is_grad_enabled()
    arguments = hidden[picked], weight, bias, labels[picked], chunk, learning
    total: Tensor = _LinearCrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]
    return total, picked.sum()


class _LinearCrossEntropy(torch.autograd.Function):
    """hidden (k, d), weight (c, d), bias (c,) or None, targets (k,) -> () the summed cross-entropy."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        chunk: int,
        learning: bool,
    ) -> Tensor:
        wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        total = hidden.new_zeros((), dtype=wide)
        wanted = [learning and wants for wants in ctx.needs_input_grad[:3]]
        hidden_grad = torch.empty_like(hidden) if wanted[0] else None
        weight_grad = torch.zeros_like(weight, dtype=wide) if wanted[1] else None
        bias_grad = torch.zeros_like(bias, dtype=wide) if bias is not None and wanted[2] else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), chunk):
                rows, target = hidden[start : start + chunk], targets[start : start + chunk]
                logits = F.linear(rows, weight, bias).to(wide)  # (chunk, c)
                own, top = logits.gather(1, target[:, None]), logits.amax(dim=1, keepdim=True)
                # In place, and each exponential once: a chunk of 50,000 logits a row is far larger than any cache.
                p = logits.sub_(top).exp_()
                z = p.sum(dim=1, keepdim=True)
                total += (top + z.log() - own).sum()
                if not any(wanted):
                    continue
                p.div_(z).scatter_add_(1, target[:, None], p.new_full((len(target), 1), -1.0))
                if bias_grad is not None:
                    bias_grad += p.sum(dim=0)
                p = p.to(hidden.dtype)
                if hidden_grad is not None:
                    torch.mm(p, weight, out=hidden_grad[start : start + chunk])
                if weight_grad is not None and weight_grad.dtype == p.dtype:
                    weight_grad.addmm_(p.T, rows)
                elif weight_grad is not None:
                    weight_grad += p.T @ rows
        ctx.grads = hidden_grad, weight_grad, bias_grad
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # once_differentiable would let a wrong second derivative pass in silence
            raise RuntimeError("linear_cross_entropy has no second derivative; use masked_cross_entropy with a head.")
        pairs = zip(ctx.grads, ctx.dtypes, strict=True)
        return *(None if g is None else (g * grad).to(dtype) for g, dtype in pairs), None, None, None
