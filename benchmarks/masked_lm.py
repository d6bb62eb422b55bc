"""Masked language modelling against the plain script form, forward and backward, on one CPU thread.

    python -m benchmarks.masked_lm [--shape tiny|base] [--ours packed|bucketed] [--pairs 5]

Texts are the paragraphs of the Wikipedia articles that gensim carries, those of at most 254 tokens, in random order.
The plain form is that of the usual training scripts: 32 texts padded to the longest of them, and every position scored
over the whole vocabulary by the stock class's `labels=`. Ours scores hidden positions only, of packed rows (documents
kept apart by the attention mask) or of batches of like length. Each measurement is a fresh process, the two forms
taking turns, over the same texts, so the ratio of CPU seconds is that of useful tokens per CPU second. Tokenizing and
masking are done before the clock starts, for both. First the same hidden tokens, laid padded and packed, must give the
plain form, ours and ours packed the same loss and gradients in double precision, or nothing is timed. `base` has two
layers of BERT-base's width, not twelve, for the sake of time and memory: the vocabulary then weighs more than in the
whole model.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from benchmarks.paired import compare, measure
from modalities.draws import mix
from modalities.text import wikipedia
from modalities.text.backbones import ModelConfig
from modalities.text.bert import Bert
from modalities.text.masking import MaskConfig, MaskedCollate
from modalities.text.packing import PackedRow, pack
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from objectives.predictive import IGNORE

LENGTH, VOCABULARY = 256, 30_000
SHAPES = {
    "tiny": ModelConfig(width=128, layers=2, heads=2, feed_forward=512, length=LENGTH, dropout=0.0),
    "base": ModelConfig(width=768, layers=2, heads=12, feed_forward=3072, length=LENGTH, dropout=0.0),
}
TEXTS = {"tiny": 128, "base": 64}
ROWS = 32


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """WordPiece of at most 30,000 tokens; the model's vocabulary is filled up to that."""
    return build_tokenizer(TokenizerConfig(vocabulary=VOCABULARY), _lines(), LENGTH)


def texts(count: int) -> list[str]:
    """Paragraphs in random order, the same ones each time."""
    lines = [_lines()[place] for place in np.random.default_rng(0).permutation(len(_lines()))]
    fit = (line for line in lines if len(tokenizer()(line, verbose=False)["input_ids"]) <= LENGTH)
    return list(itertools.islice(fit, count))


@cache
def _lines() -> list[str]:
    return [line for article in wikipedia.articles().texts for line in article[0].split("\n")]


def build(shape: str) -> Bert:
    """The same weights each time."""
    torch.manual_seed(0)
    task = Bert(SHAPES[shape], tokenizer())
    task.encoder.resize_token_embeddings(VOCABULARY)
    return task


def batches(form: str, given: list[str]) -> list[dict[str, Tensor]]:
    """What each form reads: batches of about 32 texts."""
    collate = MaskedCollate(tokenizer(), MaskConfig())
    if form == "packed":
        packed = pack(given, tokenizer(), LENGTH)
        rows, size = [packed[place] for place in range(len(packed))], max(1, round(ROWS * len(packed) / len(given)))
    else:
        rows, size = [_alone(text) for text in given], ROWS
    if form == "bucketed":
        rows.sort(key=lambda row: len(row["input_ids"]))
    seeds = mix(np.arange(len(rows), dtype=np.uint64))
    return [collate(rows[start : start + size], seeds[start : start + size]) for start in range(0, len(rows), size)]


def _alone(text: str) -> PackedRow:
    """A row of one text, without padding."""
    row = pack([text], tokenizer(), LENGTH)[0]
    real = row["segments"] > 0
    return PackedRow(
        input_ids=row["input_ids"][real],
        segments=row["segments"][real],
        position_ids=row["position_ids"][real],
        words=row["words"][real],
    )


def loss_of(form: str, task: Bert) -> Callable[[dict[str, Tensor]], Tensor]:
    """The stock class's own loss, or ours."""
    if form == "plain":
        return lambda batch: task.encoder(**batch).loss
    return lambda batch: task(batch)["loss"]


def unpacked(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The documents of packed rows, each in a row of its own, with the masks that it has."""
    kept = [row == number for row in batch["segments"] for number in range(1, int(row.max()) + 1)]
    rows = [place for place, row in enumerate(batch["segments"]) for _ in range(int(row.max()))]

    def padded(values: Tensor, fill: int) -> Tensor:
        parts = [values[row][own] for row, own in zip(rows, kept, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill)

    return {
        "input_ids": padded(batch["input_ids"], tokenizer().pad_token_id),
        "labels": padded(batch["labels"], IGNORE),
        "attention_mask": padded(torch.ones_like(batch["segments"]), 0),
    }


def gate() -> float:
    """The largest difference between the plain form's summed loss and its gradients and those of ours, on the padded
    batch and on the packed one, relative to the largest entry of the gradients. (The gradient of a key's bias is zero
    but for rounding, so no tensor can be its own measure.)"""
    task = build("tiny").double()
    packed = batches("packed", texts(8))[0]
    padded = unpacked(packed)
    assert len(padded["labels"]) > len(packed["labels"]), "no row holds two documents"
    assert (padded["labels"] != IGNORE).sum() == (packed["labels"] != IGNORE).sum()
    found = []
    for form, batch in (("plain", padded), ("ours", padded), ("ours", packed)):
        value = loss_of(form, task)(batch) * (batch["labels"] != IGNORE).sum()
        found.append([value.detach(), *torch.autograd.grad(value, list(task.parameters()))])
    plain, *ours = found
    largest = max(entry.abs().max().item() for entry in plain[1:])
    pairs = [pair for form in ours for pair in zip(form, plain, strict=True)]
    return float(max((one - other).abs().max().item() for one, other in pairs) / largest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--ours", choices=("packed", "bucketed"), default="packed")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=("plain", "packed", "bucketed"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = TEXTS[options.shape]
    if options.form:
        task, given = build(options.shape), batches(options.form, texts(count))
        loss = loss_of(options.form, task)
        torch.autograd.backward(loss(given[0]))  # loads the kernels, and makes room for gradients
        measure(lambda: [torch.autograd.backward(loss(batch)) for batch in given])
        return
    print(f"{options.shape}, V={VOCABULARY:,}, {count} paragraphs, fp32, one thread, torch {torch.__version__}")
    error = gate()
    print(f"equality: loss and gradients differ by {error:.1e} (limit 1e-12)")
    if not error < 1e-12:
        raise SystemExit("The forms disagree; nothing was timed.")
    compare("benchmarks.masked_lm", "plain", options.ours, options.pairs, "--shape", options.shape)


if __name__ == "__main__":
    main()
