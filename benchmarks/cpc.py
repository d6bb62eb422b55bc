"""A step of contrastive predictive coding against the form of the official code, on one CPU thread.

    python -m benchmarks.cpc [--negatives window|batch] [--shape small|paper] [--windows 8] [--pairs 5]

The plain form is a straightforward implementation of what CPC_audio does (github.com/facebookresearch/CPC_audio),
written for this comparison: convolutions over (n, d, t) with a norm over channels spelt out, a GRU, and for each of 12
steps a predictor of its own, the frames to be found and the negatives laid side by side, multiplied and summed, and a
cross-entropy. Ours adds frames in pairs instead of laying windows out, and scores all steps in one product of matrices.
`batch` draws 128 negatives for each place from all windows, as the official code does; `window`, the default of our
recipe, takes all other frames of the same window, which the plain form gathers by their places. Both leave out a
negative that is the very frame to be found, both take silence before a window for what is not there, and both sum
products where the official code has their mean.

First both must give the same scores, loss and gradients in double precision from the same weights and the same
negatives, or nothing is timed. Then the two take turns, each measurement in a fresh process, forward and backward over
the same windows, so that the ratio of CPU seconds is that of seconds of audio per CPU second. The plain form draws its
negatives by `randint` while the clock runs, as the official code does.
"""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import compare, measure
from modalities.audio.cpc import CPC, CPCConfig, pick
from modalities.audio.cpc_model import STRIDES
from modalities.audio.frame_encoder import normalised
from modalities.draws import uniform_on_device
from modalities.task import Batch
from objectives.predictive_coding import found_ahead

SAMPLES, DRAWN, REPEATS = 20_480, 128, 4
SHAPES = {
    "small": CPCConfig(first_width=128, width=128, context_width=128),
    "paper": CPCConfig(first_width=512, width=512, context_width=256),
}


def build(shape: str, negatives: str) -> CPC:
    """The same weights each time."""
    torch.manual_seed(0)
    options = {"negatives": negatives, "drawn": DRAWN if negatives == "batch" else 0}
    return CPC(CPCConfig(**{**vars(SHAPES[shape]), **options}))


def batch_of(windows: int, samples: int = SAMPLES) -> Batch:
    """Noise that swells and fades; what it says does not matter to a clock."""
    draw = torch.Generator().manual_seed(1)
    swell = torch.linspace(0, 20, samples).sin() + 1.1
    return {
        "audio": torch.randn(windows, samples, generator=draw) * swell,
        "lengths": torch.full((windows,), samples),
        "speakers": torch.arange(windows),
        "seeds": torch.arange(windows) * 7919,
    }


def plain_frames(model: Any, audio: Tensor) -> Tensor:
    """Convolution, norm over channels and ReLU, five times: (n, t) -> (n, f, d)."""
    x = audio[:, None]  # (n, 1, t)
    for layer, stride in zip(model.convolutions, STRIDES, strict=True):
        # Silence on both sides, of which the end is cut off: cheaper than to pad one side first.
        x = F.conv1d(x, layer.convolution.weight, layer.convolution.bias, stride, padding=stride)[:, :, :-1]
        mean, variance = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, correction=0)
        x = (x - mean) * torch.rsqrt(variance + layer.norm.eps)
        x = F.relu(x * layer.norm.weight[:, None] + layer.norm.bias[:, None])
    return x.transpose(1, 2)


def plain_scores(task: CPC, batch: Batch, places: Tensor) -> list[Tensor]:
    """For each step (n, f, 1 + m): the frame to be found, then the negatives. places: (n, f, m) among all frames of the
    batch, the same for all steps."""
    model: Any = task.encoder
    z = plain_frames(model, normalised(batch["audio"], batch["lengths"]).to(task.dtype))  # (n, t, d)
    context = model.context(z)[0]
    steps, (n, t, d) = task.cfg.steps, z.shape
    f = t - steps
    pool, first = z.reshape(n * t, d), torch.arange(n)[:, None] * t + torch.arange(f)  # (n, f)
    others = pool[places]  # (n, f, m, d)
    found = []
    for step, weight in enumerate(task.predictors.weight.chunk(steps)):
        predicted = F.linear(context[:, :f], weight)[:, :, None]  # (n, f, 1, d)
        candidates = torch.cat([z[:, step + 1 : step + 1 + f, None], others], dim=2)
        scores = (predicted * candidates).sum(dim=3)
        itself = F.pad(places == (first + step + 1)[:, :, None], (1, 0))
        found.append(scores.masked_fill(itself, float("-inf")))
    return found


def plain_loss(scores: list[Tensor]) -> Tensor:
    """A cross-entropy for each step, and how often the right one wins."""
    losses = []
    for each in scores:
        flat = each.flatten(0, 1)
        target = torch.zeros(len(flat), dtype=torch.long)
        losses.append(F.cross_entropy(flat, target))
        (flat.argmax(1) == target).double().mean()
    return torch.stack(losses).mean()


def drawn_places(task: CPC, batch: Batch) -> Tensor:
    """Ours, for the comparison of scores: (n, f, m)."""
    n, t = len(batch["audio"]), batch["audio"].shape[1] // 160
    f = t - task.cfg.steps
    if task.cfg.drawn:
        numbers = uniform_on_device(batch["seeds"], f * task.cfg.drawn, 1)
        everything = torch.ones(n, n * t, dtype=torch.bool)
        return pick(everything, numbers).view(n, f, -1)
    window = torch.arange(n)[:, None] * t + torch.arange(t)  # (n, t), the frame to be found among them
    return window[:, None].expand(n, f, t)


def our_scores(task: CPC, batch: Batch, places: Tensor) -> list[Tensor]:
    """As `plain_scores`, from our frames and predictions, by way of one product of matrices."""
    frames, context = task.embed(batch)[:2]
    steps, (n, t, _) = task.cfg.steps, frames.shape
    f = t - steps
    predicted = task.predictors(context[:, :f]).unflatten(2, (steps, -1))  # (n, f, steps, d)
    every = predicted.flatten(0, 2) @ frames.flatten(0, 1).T
    positive = (predicted * found_ahead(frames, steps)).sum(3, keepdim=True)
    chosen = places[:, :, None].expand(-1, -1, steps, -1)
    own = (torch.arange(n)[:, None] * t + torch.arange(f))[:, :, None, None] + torch.arange(1, steps + 1)[:, None]
    others = every.view(n, f, steps, n * t).gather(3, chosen).masked_fill(chosen == own, float("-inf"))
    return list(torch.cat([positive, others], dim=3).unbind(2))


def gate(negatives: str) -> float:
    """The largest difference between the plain form's scores, loss and gradients and ours, the gradients relative to
    their largest entry."""
    task, batch = build("small", negatives).double(), batch_of(3, 5120)
    places = drawn_places(task, batch)
    scores = plain_scores(task, batch, places)
    found = []
    for loss in (plain_loss(scores), task(batch)["loss"]):
        found.append([loss.detach(), *torch.autograd.grad(loss, list(task.parameters()), retain_graph=True)])
    largest = max(entry.abs().max().item() for entry in found[0][1:])
    errors = [(one - other).abs().max().item() / largest for one, other in zip(*found, strict=True)]
    pairs = zip(scores, our_scores(task, batch, places), strict=True)
    errors += [torch.where(one == other, 0.0, one - other).abs().max().item() for one, other in pairs]
    return float(max(errors))


def step(form: str, task: CPC, batch: Batch) -> Tensor:
    """Forward and backward; the loss."""
    if form == "ours":
        loss = task(batch)["loss"]
    else:
        n, t = len(batch["audio"]), batch["audio"].shape[1] // 160
        shape = (n, t - task.cfg.steps, DRAWN)
        places = torch.randint(n * t, shape) if task.cfg.drawn else drawn_places(task, batch)
        loss = plain_loss(plain_scores(task, batch, places))
    torch.autograd.backward(loss)
    return loss.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--negatives", choices=("window", "batch"), default="window")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--windows", type=int, default=8, help="of 1.28 s, in a batch")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=("plain", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.form:
        task, batch = build(options.shape, options.negatives), batch_of(options.windows)
        step(options.form, task, batch_of(1))  # loads the kernels, and makes room for gradients
        measure(lambda: [step(options.form, task, batch) for _ in range(REPEATS)])
        return
    about = f"{options.shape}, {options.windows} windows of 1.28 s, negatives of the {options.negatives}"
    print(f"{about}, fp32, one thread, torch {torch.__version__}")
    error = gate(options.negatives)
    print(f"equality: scores, loss and gradients differ by {error:.1e} (limit 1e-12)")
    if not error < 1e-12:
        raise SystemExit("The forms disagree; nothing was timed.")
    passed = [f"--{name}={getattr(options, name)}" for name in ("negatives", "shape", "windows")]
    compare("benchmarks.cpc", "plain", "ours", options.pairs, *passed)


if __name__ == "__main__":
    main()
