"""How well hidden tokens of held-out text are recovered: by a model, and by counting."""

import math

import numpy as np
import torch

from modalities.draws import mix
from modalities.text.bert import Bert
from modalities.text.masking import MaskConfig, MaskedCollate
from modalities.text.packing import Packed
from modalities.text.sentence_pairs import PairsCollate, Segments
from objectives.predictive import masked_cross_entropy
from recipes.text_measure import evenly

_SEED = 0x9E11  # of the masks of held-out text, the same ones in every run
_BATCH, _ROWS = 32, 512


@torch.inference_mode()
def hidden_tokens(task: Bert, held_out: Packed) -> dict[str, float]:
    """Accuracy and perplexity at the hidden tokens of at most 512 rows, evenly spaced. The masks are BERT's (single
    tokens, 15 %), whatever the task was trained on, and the same ones each time."""
    collate = MaskedCollate(task.tokenizer, MaskConfig())
    device = next(task.parameters()).device
    places = evenly(len(held_out), _ROWS)
    total, right, count = 0.0, 0, 0
    for start in range(0, len(places), _BATCH):
        some = places[start : start + _BATCH]
        batch = collate([held_out[place] for place in some.tolist()], mix(some.astype(np.uint64) + np.uint64(_SEED)))
        logits, targets, _ = task.predict({name: tensor.to(device) for name, tensor in batch.items()})
        total += float(masked_cross_entropy(logits, targets)[0])
        right += int((logits.argmax(-1) == targets).sum())
        count += len(targets)
    return _scores(right, total, count)


@torch.inference_mode()
def pair_accuracy(task: Bert, segments: Segments, collate: PairsCollate) -> dict[str, float]:
    """How often it is right about two segments of held-out documents, half of them not what they seem."""
    device = next(task.parameters()).device
    places = evenly(len(segments), _ROWS)
    right = 0.0
    for start in range(0, len(places), _BATCH):
        some = places[start : start + _BATCH]
        rows = [segments[place] for place in some.tolist()]
        batch = collate(rows, mix(some.astype(np.uint64) + np.uint64(_SEED)))
        scores = task.judge({name: tensor.to(device) for name, tensor in batch.items()})
        right += float((scores.argmax(-1).cpu() == batch["pair_labels"]).sum())
    return {"pairs": right / len(places)}


def unigram(train: Packed, held_out: Packed, vocabulary: int) -> dict[str, float]:
    """The same of a model that knows how frequent tokens are (each counted once more than seen), and nothing else."""
    counts = np.bincount(train.input_ids[train.words >= 0], minlength=vocabulary) + 1.0
    seen = held_out.input_ids[held_out.words >= 0]
    losses = -np.log(counts / counts.sum())[seen]
    return _scores(int((seen == counts.argmax()).sum()), float(losses.sum()), len(seen))


def explain_hidden(scores: dict[str, float]) -> str:
    """What the columns of hidden tokens and of pairs mean, in words."""
    words = "Hidden tokens: accuracy where 15 % of the held-out tokens are hidden, and the perplexity of these."
    if "pairs" in scores:
        words += " Pairs: accuracy of telling whether two segments of held-out text stand as they stood, as half do."
    return words


def _scores(right: int, total: float, count: int) -> dict[str, float]:
    share = 1 / max(1, count)
    return {"held_out_accuracy": right * share, "held_out_perplexity": math.exp(min(700.0, total * share))}
