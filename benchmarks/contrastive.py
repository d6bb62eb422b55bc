"""CLIP's loss in tiles against the plain form, forward and backward, on one CPU thread.

    python -m benchmarks.contrastive [--n 8192] [--d 512] [--pairs 5]

The plain form is the one open_clip trains with on gathered features: normalise, one n x n matrix of logits,
cross-entropy along its rows and along its columns. Each measurement is a fresh process, the two forms taking turns, so
that neither inherits the other's memory. Time is CPU seconds of forward and backward; memory is the peak resident size
less the resident size just before, as Linux counts them. The tiled form must first give the same loss and gradients,
or nothing is timed.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives import tiled

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
    """open_clip's form."""
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    logits = log_scale.exp() * image @ text.T    # (n, n)
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


def memory(field: str) -> int:
    """VmRSS, the bytes resident now, or VmHWM, the most there have been. (getrusage would count the parent's peak.)"""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def measure(form: str, n: int, d: int) -> dict[str, float]:
    """CPU seconds and extra bytes at the peak of one forward and backward, after a small one to load the kernels."""
    torch.set_num_threads(1)
    results(FORMS[form], 64, d)
    leaves = inputs(n, d)
    before, start = memory("VmRSS"), time.process_time()
    torch.autograd.backward(FORMS[form](*leaves))
    seconds = time.process_time() - start
    return {"seconds": seconds, "bytes": memory("VmHWM") - before}


def measure_apart(form: str, n: int, d: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.contrastive", "--form", form, "--n", str(n), "--d", str(d)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    numbers: dict[str, float] = json.loads(done.stdout)
    return numbers


def verdict(name: str, ratios: list[float]) -> str:
    """The median ratio with its range, or that there is nothing to tell."""
    low, high = min(ratios), max(ratios)
    line = f"{name}: plain / tiled = {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
    return f"{line}; no difference shown" if low <= 1 <= high else line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=8192, help="pairs in the batch")
    parser.add_argument("--d", type=int, default=512, help="width of the embeddings")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    n, d = options.n, options.d
    if options.form:
        print(json.dumps(measure(options.form, n, d)))
        return
    torch.set_num_threads(1)
    print(f"n={n} d={d} fp32, one thread, torch {torch.__version__}, {options.pairs} pairs")
    error = gate(n, d)
    print(f"equality: loss and gradients differ by {error:.1e} (limit 1e-05)")
    if not error < 1e-5:
        raise SystemExit("The forms disagree; nothing was timed.")
    seconds, extra = [], []
    for _ in range(options.pairs):
        one, other = measure_apart("plain", n, d), measure_apart("tiled", n, d)
        seconds.append(one["seconds"] / other["seconds"])
        extra.append(one["bytes"] / other["bytes"])
        print(
            f"plain {one['seconds']:.2f} s {one['bytes'] / 1e6:.0f} MB   "
            f"tiled {other['seconds']:.2f} s {other['bytes'] / 1e6:.0f} MB"
        )
    print(verdict("CPU time", seconds))
    print(verdict("extra peak memory", extra))


if __name__ == "__main__":
    main()
