"""A CLIP step with gradient caching against the plain step, on one CPU thread.

    python -m benchmarks.gradient_caching [--rows 256] [--micro 32] [--pairs 5]

The towers are those of `recipes/clip.py`. Both forms must first give the same gradients, or nothing is timed.
"""

import argparse

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.paired import compare, measure
from modalities.image_text.clip import Clip
from modalities.image_text.towers import ModelConfig, build_processor, build_towers
from trainers.step import GradientStep


def prepare(rows: int) -> tuple[Clip, dict[str, Tensor]]:
    """The laptop preset's task, and a batch of noise of its shapes."""
    cfg = ModelConfig()
    processor = build_processor(cfg, ["a red heart", "a grinning face"])
    torch.manual_seed(0)
    task = Clip(build_towers(cfg, processor), processor)
    tokens = torch.randint(2, len(processor.tokenizer), (rows, cfg.text_length))
    tokens[:, -1] = processor.tokenizer.eos_token_id
    batch = {
        "pixel_values": torch.randn(rows, 3, cfg.image_size, cfg.image_size),
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "ids": torch.arange(rows),
    }
    return task, batch


def gradients(rows: int, micro: int) -> list[Tensor]:
    """Of every parameter."""
    task, batch = prepare(rows)
    GradientStep(Accelerator(cpu=True), task, task, micro)(batch)
    return [weight.grad for weight in task.parameters() if weight.grad is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256, help="rows of the batch")
    parser.add_argument("--micro", type=int, default=32, help="rows of a micro-batch")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=["plain", "cached"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows, micro = options.rows, options.micro
    if options.form:
        task, batch = prepare(rows)
        accelerator = Accelerator(cpu=True)
        few = {name: tensor[:8] for name, tensor in batch.items()}
        GradientStep(accelerator, task, task, 0)(few)  # loads the kernels
        step = GradientStep(accelerator, task, task, micro if options.form == "cached" else 0)
        measure(lambda: step(batch))
        return
    torch.set_num_threads(1)
    print(f"{rows} rows, micro-batches of {micro}, fp32, one thread, torch {torch.__version__}, {options.pairs} pairs")
    ours, theirs = gradients(rows, micro), gradients(rows, 0)
    # Relative to the largest entry of all: a key's bias has no gradient but rounding, which would compare as anything.
    largest = max(gradient.abs().max().item() for gradient in theirs)
    error = max((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True)) / largest
    print(f"equality: gradients differ by {error:.1e} of the largest (limit 1e-05)")
    if not error < 1e-5:
        raise SystemExit("The forms disagree; nothing was timed.")
    compare("benchmarks.gradient_caching", "plain", "cached", options.pairs, "--rows", str(rows), "--micro", str(micro))


if __name__ == "__main__":
    main()
