"""What a causal language model is judged by: how well it foresees held-out documents, beside models that count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from evaluation.kneser_ney import KneserNey
from evaluation.perplexity import Window, language_scores, windows
from evaluation.report import Column, Row
from modalities.text.gpt import Gpt, document_tokens
from modalities.text.ngram_lm import NgramLm

Ints = NDArray[np.int64]

COLUMNS = [
    Column("perplexity", "perplexity", percent=False),
    Column("bits_per_byte", "bits per byte", percent=False),
    Column("accuracy", "next token"),
]
UNTRAINED, CHECKPOINT = "random initialisation", "starting checkpoint"
_COUNTED = "Kneser-Ney"
_WINDOWS, _ROWS = 32, 1024  # read at once, and scored at once: a row of logits is as wide as the vocabulary


@dataclass(frozen=True)
class EvalConfig:
    """How the trained model and what it is compared with are measured."""

    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    order: int = 5
    """n of the Kneser-Ney model to compare with; 0 for none, nor unigrams."""
    context: int = 64
    """Tokens before each held-out token that the model sees at least, where its document has as many."""
    prompts: str = "In the beginning|The first"
    """Beginnings that the card shows continued, separated by |; one without any is always shown."""
    temperature: float = 0.8
    """Divides the logits when sampling."""
    new_tokens: int = 80
    """Tokens that are sampled for each at most; 0 for no samples."""

    def __post_init__(self) -> None:
        for name in ("seeds", "order", "new_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"eval.{name} is {getattr(self, name)}; it must not be negative.")
        if self.context < 1:
            raise ValueError(f"eval.context is {self.context}; at least the token before must be seen.")
        if self.temperature <= 0:
            raise ValueError(f"eval.temperature is {self.temperature}; it must be above 0.")


@dataclass(frozen=True)
class HeldOut:
    """Documents to foresee: the same tokens for every model."""

    documents: list[Ints]
    bytes: int
    """UTF-8 bytes of what their tokens but the first of each stand for; 0 where the tokens do not give back the texts
    (lower-cased, say, or unknown), for what was lost would be foreseen for nothing."""


@dataclass(frozen=True)
class Foreseen:
    """What became of each token but the first of every document, (k,) each, in order."""

    log_probs: NDArray[np.float64]
    right: NDArray[np.bool_]
    """Whether it was the likeliest."""
    before: Ints
    """Tokens that the model saw before it."""

    def scores(self, held_out: HeldOut) -> dict[str, float]:
        """Perplexity, bits per byte, and accuracy."""
        return _scores(self.log_probs, self.right, held_out)


def held_out(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> HeldOut:
    """Tokens and bytes of `texts`."""
    options: dict[str, Any] = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    found = tokenizer(list(texts), return_offsets_mapping=True, **options)
    decoded = tokenizer.batch_decode(found["input_ids"], clean_up_tokenization_spaces=False)
    size = sum(len(text.encode()) for text in texts) if decoded == list(texts) else 0
    if size and tokenizer.bos_token_id is None:  # then nobody is asked for the first token of the text
        firsts = zip(texts, found["offset_mapping"], strict=True)
        size -= sum(len(text[: places[0][1]].encode()) for text, places in firsts if places)
    return HeldOut(document_tokens(texts, tokenizer), size)


def _scores(log_probs: NDArray[np.float64], right: NDArray[np.bool_], held_out: HeldOut) -> dict[str, float]:
    found = language_scores(log_probs, held_out.bytes or 1)
    if not held_out.bytes:
        del found["bits_per_byte"]
    return found | {"accuracy": float(right.mean())}


@torch.no_grad()
def foresee(task: Gpt | NgramLm, documents: Sequence[Ints], length: int, context: int) -> Foreseen:
    """Ask a model for every token of the documents but their first."""
    device = next(task.parameters()).device
    context = min(context, length - 1)
    places = [(ids, window) for ids in documents for window in windows(len(ids), length, context)]
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for start in range(0, len(places), _WINDOWS):
        batch, scored, targets = (part.to(device) for part in _batch(places[start : start + _WINDOWS], length))
        hidden = task.hidden({"input_ids": batch[0], "segments": batch[1], "position_ids": batch[2]})[scored]
        for rows, target in zip(hidden.split(_ROWS), targets.split(_ROWS), strict=True):
            logits = F.linear(rows, task.head.weight, task.head.bias).float()  # (r, c)
            likely = logits.argmax(1) == target
            found.append((-F.cross_entropy(logits, target, reduction="none").cpu(), likely.cpu()))
    log_probs, right = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    before = np.concatenate([np.arange(w.scored - w.start, w.stop - w.start) for _, w in places])
    return Foreseen(log_probs.astype(np.float64), right, before)


def _batch(places: Sequence[tuple[Ints, Window]], length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, segments and positions (3, n, t), where a token is scored (n, t), and those tokens (k,)."""
    rows = np.zeros((3, len(places), length), dtype=np.int64)
    rows[2] = np.arange(length)
    scored = np.zeros((len(places), length), dtype=np.bool_)
    for row, (ids, (start, first, stop)) in enumerate(places):
        rows[0, row, : stop - start] = ids[start:stop]
        rows[1, row, : stop - start] = 1
        scored[row, first - 1 - start : stop - 1 - start] = True
    targets = np.concatenate([ids[first:stop] for ids, (_, first, stop) in places])
    return torch.from_numpy(rows), torch.from_numpy(scored), torch.from_numpy(targets)


def before_training(
    name: str, build: Callable[[], Gpt | NgramLm], data: HeldOut, length: int, cfg: EvalConfig, device: torch.device
) -> list[Row]:
    """Models as each call of `build` makes them, new weights drawn from torch's generator; of a checkpoint, which every
    call makes alike, one."""
    scores = []
    for seed in range(min(cfg.seeds, 1) if name == CHECKPOINT else cfg.seeds):
        set_seed(1000 + seed)
        task = build().to(device).eval()
        scores.append(foresee(task, data.documents, length, cfg.context).scores(data))
    return [Row(name, {key: [each[key] for each in scores] for key in scores[0]})] if scores else []


def counted(train: Sequence[str], tokenizer: PreTrainedTokenizerBase, data: HeldOut, cfg: EvalConfig) -> list[Row]:
    """Unigrams and Kneser-Ney n-grams of the same tokens."""
    rows, documents = [], document_tokens(train, tokenizer) if cfg.order else []
    for order in dict.fromkeys((1, cfg.order) if cfg.order else ()):
        model = KneserNey(documents, order, len(tokenizer))
        foreseen = [_by_counting(model, ids) for ids in data.documents]
        log_probs, right = (np.concatenate(parts) for parts in zip(*foreseen, strict=True))
        name = "unigrams" if order == 1 else f"{_COUNTED} {order}-grams"
        rows.append(Row(name, {**_scores(log_probs, right, data)}))
    return rows


def _by_counting(model: KneserNey, ids: Ints) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of every token but the first: its log-probability, and whether it was the likeliest; in pieces that overlap by
    the n-grams' reach, as a distribution is as wide as the vocabulary."""
    log_probs, right = [], []
    for start in range(1, len(ids), _ROWS):
        first = max(0, start - model.order)
        p = model.distributions(ids[first : start + _ROWS])[start - 1 - first :]  # (r, c)
        target = ids[start : start + _ROWS]
        log_probs.append(np.log(p[np.arange(len(p)), target]))
        right.append(p.argmax(1) == target)
    return np.concatenate(log_probs), np.concatenate(right)


def explain(data: HeldOut, shown: str, others: Sequence[Row]) -> str:
    """What the table's columns mean, in words. shown: a sentence on what the model reads before a token; others: the
    rows that it is compared with."""
    tokens = sum(len(ids) - 1 for ids in data.documents)
    words = (
        f"Perplexity is per token, over {tokens:,} tokens of {len(data.documents):,} held-out documents, ends "
        f"included; {_per_byte(data)}; next token: accuracy. Every model is asked for the same tokens. {shown}"
    )
    if any(row.name.startswith(_COUNTED) for row in others):
        words += " Kneser-Ney: interpolated, modified (Chen and Goodman 1999), counted on the same training tokens."
    return words


def _per_byte(data: HeldOut) -> str:
    if data.bytes:
        return f"bits per byte is the same loss over the {data.bytes:,} bytes of their text"
    return "bits per byte there are none, for the tokens do not give back the texts"


def held_out_loss(task: Gpt | NgramLm, data: HeldOut, length: int, most: int = 64) -> dict[str, float]:
    """{"loss": nats per token} of the beginnings of documents: cheap enough to watch while training."""
    beginnings = [ids[:length] for ids in data.documents[:most]]
    return {"loss": -float(foresee(task, beginnings, length, 1).log_probs.mean())}
