"""A training step of GPT against the stock class's own loss, on one CPU thread.

    python -m benchmarks.causal_lm [--rows 4] [--length 512] [--vocabulary 50257] [--pairs 5]

The peer is `GPT2LMHeadModel(input_ids, labels=input_ids).loss.backward()`, which holds the logits of all positions, a
copy of them in fp32, and their gradient. Ours is the same model in `Gpt`, where last layer and cross-entropy are one
and go chunk by chunk. A row is one document, so that both see the same tokens. Each measurement is a fresh process, the
two forms taking turns. Time is CPU seconds of forward and backward; memory is the peak resident size less the resident
size just before, as Linux counts them. Loss and every gradient must first agree, or nothing is timed.
"""

import argparse

import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from benchmarks.paired import compare, measure
from modalities.text.backbones import ModelConfig
from modalities.text.gpt import Gpt

LAYERS, WIDTH, HEADS = 4, 256, 4


def build(length: int, vocabulary: int) -> Gpt:
    """GPT-2 of 4 layers of width 256, the same weights each time."""
    logging.set_verbosity_error()
    words = {f"w{number}": number for number in range(vocabulary)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")),
        pad_token="w0", bos_token="w1", eos_token="w2",
    )  # fmt: skip
    shape = {"width": WIDTH, "layers": LAYERS, "heads": HEADS, "feed_forward": 4 * WIDTH, "length": length}
    torch.manual_seed(0)
    return Gpt(ModelConfig(family="gpt2", dropout=0.0, **shape), tokenizer)


def tokens(rows: int, length: int, vocabulary: int) -> Tensor:
    """(n, t), drawn."""
    return torch.randint(vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))


def step(form: str, task: Gpt, ids: Tensor) -> Tensor:
    """The loss, after its backward pass."""
    loss: Tensor
    if form == "labels":
        loss = task.encoder(input_ids=ids, labels=ids, use_cache=False).loss
    else:
        places = torch.arange(ids.shape[1]).expand_as(ids)
        loss = task({"input_ids": ids, "segments": torch.ones_like(ids), "position_ids": places})["loss"]
    loss.backward()
    return loss.detach()


def gate(length: int, vocabulary: int) -> float:
    """The largest difference of the loss or a gradient between the forms, relative to its tensor's largest entry."""
    ids, found = tokens(2, length, vocabulary), []
    for form in ("labels", "chunks"):
        task = build(length, vocabulary)
        loss = step(form, task, ids)
        found.append([loss, *(weight.grad for weight in task.parameters() if weight.grad is not None)])
    assert len(found[0]) == len(found[1])
    return max(((ours - theirs).abs().max() / theirs.abs().max()).item() for theirs, ours in zip(*found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4, help="rows in the batch")
    parser.add_argument("--length", type=int, default=512, help="tokens of a row")
    parser.add_argument("--vocabulary", type=int, default=50257, help="tokens there are")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=("labels", "chunks"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    length, vocabulary = options.length, options.vocabulary
    if options.form:
        task = build(length, vocabulary)
        step(options.form, task, tokens(1, 16, vocabulary))  # loads the kernels, and makes place for the gradients
        ids = tokens(options.rows, length, vocabulary)
        measure(lambda: step(options.form, task, ids))
        return
    torch.set_num_threads(1)
    print(f"n={options.rows} t={length} V={vocabulary}, {LAYERS} layers of width {WIDTH}, fp32, one thread, "
          f"torch {torch.__version__}, {options.pairs} pairs")  # fmt: skip
    error = gate(length, vocabulary)
    print(f"equality: loss and gradients differ by {error:.1e} (limit 1e-04)")
    if not error < 1e-4:
        raise SystemExit("The forms disagree; nothing was timed.")
    words = ("--rows", options.rows, "--length", length, "--vocabulary", vocabulary)
    compare("benchmarks.causal_lm", "labels", "chunks", options.pairs, *map(str, words))


if __name__ == "__main__":
    main()
