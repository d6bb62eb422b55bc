"""CLIP's loss in tiles against the plain form, forward and backward, on one CPU thread.

    python -m benchmarks.contrastive [--n 8192] [--d 512] [--pairs 5]

The plain form is the one open_clip trains with on gathered features: normalise, one n x n matrix of logits,
cross-entropy along its rows and along its columns. Each measurement is a fresh process, the two forms taking turns, so
that neither inherits the other's memory. Time is CPU seconds of forward and backward; memory is the peak resident size
less the resident size just before, as Linux counts them. The tiled form must first give the same loss and gradients,
or nothing is timed.
"""

import argparse
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import compare, measure
from objectives import tiled

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """open_clip's form."""
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    logits = log_scale.exp() * image @ text.T  # (n, n)
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


FORMS: dict[str, Loss] = {"plain": plain, "tiled": tiled.clip}


def inputs(n: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Related images and texts, and the scale that CLIP starts with."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(n, d, generator=generator)
    text = image + 2 * torch.randn(n, d, generator=generator)
    return image.requires_grad_(), text.requires_grad_(), torch.tensor(math.log(1 / 0.07), requires_grad=True)


def results(loss: Loss, n: int, d: int) -> list[Tensor]:
    """The loss and its three gradients."""
    leaves = inputs(n, d)
    value = loss(*leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def gate(n: int, d: int) -> float:
    """The largest difference between the forms, relative to the largest entry of each tensor."""
    pairs = zip(results(tiled.clip, n, d), results(plain, n, d), strict=True)
    return max(((ours - theirs).abs().max() / theirs.abs().max()).item() for ours, theirs in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=8192, help="pairs in the batch")
    parser.add_argument("--d", type=int, default=512, help="width of the embeddings")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    n, d = options.n, options.d
    if options.form:
        results(FORMS[options.form], 64, d)  # loads the kernels
        leaves = inputs(n, d)
        measure(lambda: torch.autograd.backward(FORMS[options.form](*leaves)))
        return
    torch.set_num_threads(1)
    print(f"n={n} d={d} fp32, one thread, torch {torch.__version__}, {options.pairs} pairs")
    error = gate(n, d)
    print(f"equality: loss and gradients differ by {error:.1e} (limit 1e-05)")
    if not error < 1e-5:
        raise SystemExit("The forms disagree; nothing was timed.")
    compare("benchmarks.contrastive", "plain", "tiled", options.pairs, "--n", str(n), "--d", str(d))


if __name__ == "__main__":
    main()
