"""Cross-entropy along the rows and columns of a product of matrices that is never held whole.

The n x m logits scale * a @ b.T are visited tile by tile and forgotten; the backward computes each tile again. Kept are
the sums of exponentials of each row and, where both directions are asked for, of each column: O(n d + m d) in all.

Cosines lie in [-1, 1], so exp(logit - top) with one constant top serves rows and columns alike, and no running maximum
is needed. fp32 spans exponents from -87 to 88, fewer than the 200 that a scale of 100 can ask for, so the sums are
looked at afterwards: if one overflowed, or is so small that lost terms could matter, the pass is repeated with a
running maximum for each row and column. Logits of any size go through the same gate.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from objectives.precision import full_precision


class Logits(NamedTuple):
    """scale * a @ b.T, where a key that shares its query's id and is not its positive is struck out."""

    a: Tensor  # (n, d)
    b: Tensor  # (m, d)
    scale: Tensor  # ()
    positive: Tensor  # (n,) long
    a_ids: Tensor | None  # (n,)
    b_ids: Tensor | None  # (m,)

    def tiles(self, side: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Every tile with its rows and columns, all in one buffer: use each before the next."""
        n, m = len(self.a), len(self.b)
        buffer = self.a.new_empty(min(side, n) * min(side, m))
        for rows in _blocks(n, side):
            scaled = self.a[rows] * self.scale
            for columns in _blocks(m, side):
                shape = rows.stop - rows.start, columns.stop - columns.start
                x = buffer[: shape[0] * shape[1]].view(shape)
                yield rows, columns, torch.mm(scaled, self.b[columns].T, out=x)

    def strike(self, x: Tensor, rows: slice, columns: slice, value: float) -> None:
        """Overwrite the struck-out entries of one tile."""
        if self.a_ids is not None and self.b_ids is not None:
            same = self.a_ids[rows, None] == self.b_ids[columns]
            column = torch.arange(columns.start, columns.stop, device=x.device)
            x.masked_fill_(same & (self.positive[rows, None] != column), value)


def product_cross_entropy(
    logits: Logits, *, both: bool, normalize: bool, tile: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-sum-exp less the positive logit, of each row and of each column, with gradient for a, b and scale.

    Args:
        logits: see `Logits`.
        both: whether the columns are wanted, whose positives are then those of the rows: n = m and positive is
            0 .. n-1. Without, an empty tensor takes their place.
        normalize: use rows of a and b at unit length. Done here because autograd's own way needs several more (n, d).
        tile: side of a tile in rows; by default 512 on a CPU, whose cache then holds it, 4096 elsewhere.

    Returns:
        (n,) and (m,). The backward cannot be differentiated again and says so under create_graph.
    """
    side = tile or (512 if logits.a.device.type == "cpu" else 4096)
    losses: tuple[Tensor, Tensor] = _ProductCrossEntropy.apply(*logits, both, normalize, side)  # type: ignore[no-untyped-call]
    return losses


class _ProductCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        logits, (both, normalize, side) = Logits(*inputs[:6]), inputs[6:]
        lengths = [_length(x) for x in (logits.a, logits.b)] if normalize else []
        if normalize:
            logits = logits._replace(a=logits.a / lengths[0], b=logits.b / lengths[1])
        terms = max(len(logits.a), len(logits.b))
        constant = _constant_top(logits.scale, terms, logits.a.dtype)
        tops, sums = _sums_below(constant, logits, both, side)
        ctx.constant, ctx.both, ctx.side = constant, both, side
        if not _reliable(sums, terms):
            ctx.constant = None
            tops, sums = _sums_below_running_tops(logits, both, side)
        ctx.ways, ctx.normalize = len(sums), normalize
        ctx.save_for_backward(*logits, *tops, *sums, *lengths)
        right = logits.scale * torch.linalg.vecdot(logits.a, logits.b.index_select(0, logits.positive))  # (n,)
        losses = [top - right + total.log() for top, total in zip(tops, sums, strict=True)]
        return losses[0], losses[1] if both else logits.a.new_empty(0)

    @staticmethod
    @full_precision  # autocast reaches the backward of whoever calls it inside
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # once_differentiable would let a wrong second derivative pass in silence
            raise RuntimeError("Tiled losses have no second derivative; use objectives.contrastive under create_graph.")
        logits, ways, saved = Logits(*ctx.saved_tensors[:6]), ctx.ways, ctx.saved_tensors[6:]
        tops, sums, lengths = saved[:ways], saved[ways : 2 * ways], saved[2 * ways :]
        weights = [g / total for g, total in zip(grads, sums, strict=False)]
        pull = -(grads[0] + grads[1] if ctx.both else grads[0])[:, None]  # (n, 1), towards the positive
        a_grad = logits.b.index_select(0, logits.positive).mul_(pull)
        b_grad = None
        if ctx.needs_input_grad[1]:
            b_grad = torch.zeros_like(logits.b)
            for rows in _blocks(len(logits.a), ctx.side):
                b_grad.index_add_(0, logits.positive[rows], logits.a[rows] * pull[rows])
        for rows, columns, x in logits.tiles(ctx.side):
            if ctx.constant is not None:
                p = x.sub_(ctx.constant).exp_()  # one exponential for both directions
                p.mul_(weights[0][rows, None] + weights[1][columns] if ctx.both else weights[0][rows, None])
            else:
                p = (x - tops[0][rows, None]).exp_().mul_(weights[0][rows, None])
                if ctx.both:
                    p += (x - tops[1][columns]).exp_().mul_(weights[1][columns])
            logits.strike(p, rows, columns, 0.0)
            a_grad[rows].addmm_(p, logits.b[columns])
            if b_grad is not None:
                b_grad[columns].addmm_(p.T, logits.a[rows])
        # The sum of each logit's gradient times its a.b, without visiting the tiles again.
        scale_grad = torch.linalg.vecdot(logits.a, a_grad).sum()
        for x, grad, i in ((logits.a, a_grad, 0), (logits.b, b_grad, 1)):
            if grad is not None:
                grad.mul_(logits.scale)
                if ctx.normalize:
                    _through_normalization(grad, x, lengths[i], ctx.side)
        return a_grad, b_grad, scale_grad, *[None] * 6


def _blocks(n: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, n)) for start in range(0, n, side)]


def _length(x: Tensor) -> Tensor:
    """(n, 1) Euclidean lengths, no less than F.normalize allows."""
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return length.clamp_(min=1e-12)


def _through_normalization(grad: Tensor, unit: Tensor, length: Tensor, side: int) -> None:
    """Turn the gradient of x / |x| into that of x, in place."""
    for rows in _blocks(len(grad), side):
        radial = torch.linalg.vecdot(grad[rows], unit[rows])[:, None]
        grad[rows].addcmul_(unit[rows], radial, value=-1).div_(length[rows])


def _constant_top(scale: Tensor, terms: int, dtype: torch.dtype) -> float:
    """The least constant that keeps sums of `terms` exponentials of scaled cosines within two thirds of the range.

    The last third keeps gradient / sum out of the subnormal numbers, which have few digits.
    """
    return max(0.0, float(scale) + math.log(terms) - math.log(torch.finfo(dtype).max) * 2 / 3)


def _reliable(sums: list[Tensor], terms: int) -> bool:
    """Whether no sum overflowed, and whatever underflowed on the way is below the rounding of the smallest."""
    limits = torch.finfo(sums[0].dtype)
    least = terms * limits.tiny / limits.eps
    return all(bool(((s > least) & s.isfinite()).all()) for s in sums)


def _sums_below(constant: float, logits: Logits, both: bool, side: int) -> tuple[list[Tensor], list[Tensor]]:
    """The constant as top, and the sums of exp(logit - top), for rows and maybe columns."""
    ways = [logits.a, logits.b] if both else [logits.a]
    sums = [x.new_zeros(len(x)) for x in ways]
    for rows, columns, x in logits.tiles(side):
        x.sub_(constant).exp_()
        logits.strike(x, rows, columns, 0.0)
        sums[0][rows] += x.sum(dim=1)
        if both:
            sums[1][columns] += x.sum(dim=0)
    return [torch.full_like(s, constant) for s in sums], sums


def _sums_below_running_tops(logits: Logits, both: bool, side: int) -> tuple[list[Tensor], list[Tensor]]:
    """The largest logit as top, and the sums of exp(logit - top), for rows and maybe columns."""
    ways = [logits.a, logits.b] if both else [logits.a]
    # The lowest number and not -inf: a tile may be struck out as a whole, and -inf - -inf is not a number.
    tops = [x.new_full((len(x),), torch.finfo(x.dtype).min) for x in ways]
    sums = [x.new_zeros(len(x)) for x in ways]
    for rows, columns, x in logits.tiles(side):
        logits.strike(x, rows, columns, -math.inf)
        for top, total, part, dim in zip(tops, sums, (rows, columns), (1, 0), strict=False):
            higher = torch.maximum(top[part], x.amax(dim=dim))
            total[part] *= (top[part] - higher).exp()
            total[part] += (x - higher.unsqueeze(dim)).exp_().sum(dim=dim)
            top[part] = higher
    return tops, sums
