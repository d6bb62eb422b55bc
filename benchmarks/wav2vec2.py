"""A training step of wav2vec 2.0 against the stock class's, forward and backward, on one CPU thread.

    python -m benchmarks.wav2vec2 [--shape small|base] [--norm group|layer] [--pairs 5]

Stock is `Wav2Vec2ForPreTraining` as the usual training script drives it: masks and negatives by the numpy helpers of
its module, and the loss of its forward pass. Ours is a step of the task `Wav2Vec2`, over the same weights, which draws
its own masks, negatives and noise. Both see the same audio, so the ratio of CPU seconds is that of seconds of audio per
CPU second. Each measurement is a fresh process, the two taking turns. First the two must agree, in double precision and
for the same masks, negatives and noise, on loss and gradients (to 1e-5, for the stock class takes its cosines in single
precision), or nothing is timed. Without dropout. The small shape is that of `ModelConfig()`, base that of the paper.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

from benchmarks.paired import compare, measure
from modalities.audio.backbones import BASE, ModelConfig
from modalities.audio.frame_encoder import normalised
from modalities.audio.wav2vec2 import Wav2Vec2
from modalities.audio.wav2vec2_config import PAPER, Wav2Vec2Config

SHAPES = {
    "small": (ModelConfig(), Wav2Vec2Config()),
    "base": (replace(BASE, dropout=0.0, layer_drop=0.0), PAPER),
}
AUDIO = {"small": (16, 32_000), "base": (2, 80_000)}  # rows and samples of a step
STEPS = {"small": 4, "base": 1}
_START, _SPAN, _LEAST = 0.65, 10, 2  # the stock helper counts the share of frames that spans would fill


def build(shape: str, norm: str, **more: Any) -> Wav2Vec2:
    """The same weights each time."""
    torch.manual_seed(0)
    model, cfg = SHAPES[shape]
    return Wav2Vec2(replace(model, norm=norm), replace(cfg, **more))


def batch(rows: int, samples: int) -> dict[str, Tensor]:
    audio = torch.randn(rows, samples, generator=torch.Generator().manual_seed(0))
    return {"audio": audio, "lengths": torch.full((rows,), samples), "seeds": torch.arange(rows)}


def stock_draws(task: Wav2Vec2, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (n, f) and negatives (n, f, k) by the helpers, the latter as places among the frames of all rows."""
    size = (len(lengths), int(task.frames(lengths)[0]))
    mask = _compute_mask_indices(size, _START, _SPAN, min_masks=_LEAST)
    negatives = _sample_negative_indices(size, task.encoder.config.num_negatives, mask)
    return torch.from_numpy(mask), torch.from_numpy(negatives).long()


def stock_loss(task: Wav2Vec2, given: dict[str, Tensor], mask: Tensor, negatives: Tensor) -> Tensor:
    audio = normalised(given["audio"].to(task.dtype), given["lengths"])
    found = task.encoder(audio, mask_time_indices=mask, sampled_negative_indices=negatives)
    loss: Tensor = found.loss
    return loss


def step_of(form: str, task: Wav2Vec2, given: dict[str, Tensor]) -> Callable[[], None]:
    def stock() -> None:
        stock_loss(task, given, *stock_draws(task, given["lengths"])).backward()

    def ours() -> None:
        task(given)["loss"].backward()

    return {"stock": stock, "ours": ours}[form]


def gate(norm: str) -> float:
    """The largest difference between the two losses and their gradients, relative to the largest entries."""
    task = build("small", norm, penalty=0.0, feature_gradient=1.0).double()
    given = batch(4, 16_000)
    mask, negatives = stock_draws(task, given["lengths"])
    count, frames = mask.sum(1), mask.shape[1]
    most, codes = int(count.max()), task.cfg.groups * task.cfg.codes
    noise = -torch.empty(len(mask), frames, codes, dtype=torch.float64).exponential_().log()
    ranks = mask.cumsum(1) - 1  # of hidden frames among those of their row
    ours = torch.zeros(len(mask), most, negatives.shape[2], dtype=torch.long)
    picked = torch.zeros(len(mask), most, codes, dtype=torch.float64)
    for row, number in enumerate(count.tolist()):
        ours[row, :number] = ranks[row][negatives[row][mask[row]] - row * frames]
        picked[row, :number] = noise[row][mask[row]]

    def same_noise(logits: Tensor, tau: float, hard: bool) -> Tensor:
        soft = ((logits + noise.view(logits.shape)) / tau).softmax(-1)
        return F.one_hot(soft.argmax(-1), soft.shape[-1]) + (soft - soft.detach())

    drawn, F.gumbel_softmax = F.gumbel_softmax, same_noise
    theirs = stock_loss(task, given, mask, negatives)
    F.gumbel_softmax = drawn
    rows = task.compare(given["audio"], given["lengths"], mask, ours, picked)
    values = [theirs, task.loss_from(*rows)["loss"] * count.sum()]
    found = [[value.detach(), *torch.autograd.grad(value, list(task.parameters()))] for value in values]
    scale = max(float(gradient.abs().max()) for gradient in found[0][1:])
    off = max(float((a - b).abs().max()) for a, b in zip(found[0][1:], found[1][1:], strict=True))
    return max(off / scale, float(abs(found[0][0] - found[1][0]) / found[0][0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--norm", choices=("group", "layer"), help="default: that of the shape")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=("stock", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    norm = options.norm or SHAPES[options.shape][0].norm
    if options.form:
        step = step_of(options.form, build(options.shape, norm), batch(*AUDIO[options.shape]))
        step()  # loads the kernels, and makes room for gradients
        measure(lambda: [step() for _ in range(STEPS[options.shape])])
        return
    rows, samples = AUDIO[options.shape]
    print(f"{options.shape}, {norm} norm, {rows} x {samples / 16_000:g} s, one thread, torch {torch.__version__}")
    error = gate(norm)
    print(f"equality: loss and gradients differ by {error:.1e} (limit 1e-5)")
    if not error < 1e-5:
        raise SystemExit("The forms disagree; nothing was timed.")
    compare("benchmarks.wav2vec2", "stock", "ours", options.pairs, "--shape", options.shape, "--norm", norm)


if __name__ == "__main__":
    main()
