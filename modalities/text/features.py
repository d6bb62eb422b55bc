"""Frozen features: of texts, means over tokens; of words, means over their tokens; from every layer."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from modalities.text.backbones import mean_pooled
from modalities.text.word_offsets import joined, words_of_tokens

Floats = npt.NDArray[np.float32]
_BATCH = 64


@torch.inference_mode()
def text_layers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], length: int
) -> dict[str, Floats]:
    """Features of each text, cut at `length` tokens, from every layer: {"embeddings", "layer 1", ...: (n, d)}."""
    found: dict[str, Floats] = {}
    for places, batch in _batches(tokenizer, texts, length):
        batch = batch.to(model.device)
        for name, hidden in _layers(model, batch).items():
            rows = mean_pooled(hidden, batch["attention_mask"]).float().cpu().numpy()  # (b, d)
            found.setdefault(name, np.zeros((len(texts), rows.shape[1]), dtype=np.float32))[places] = rows
    return found


@torch.inference_mode()
def word_layers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]], length: int
) -> tuple[dict[str, Floats], npt.NDArray[np.bool_]]:
    """Features of each word of each text, {layer: (w, d)}, and which words they are of, (all words,): a text is cut at
    `length` tokens, and a word without a token has no feature."""
    first = np.cumsum([0, *map(len, texts)])
    parts: dict[str, list[Floats]] = {}
    numbers: list[Floats] = []
    for places, batch in _batches(tokenizer, [joined(words) for words in texts], length):
        offsets = batch["offset_mapping"]
        words = [words_of_tokens(texts[place], row) for place, row in zip(places, offsets, strict=True)]
        batch = batch.to(model.device)
        word_of = torch.from_numpy(np.stack(words)).to(model.device)  # (b, t)
        row_of = torch.arange(len(places), device=model.device)[:, None].expand_as(word_of)
        real = word_of >= 0
        longest = max(len(texts[place]) for place in places)
        pairs, slot = torch.unique(row_of[real] * longest + word_of[real], return_inverse=True)  # (w,), (k,)
        numbers.append(first[places][(pairs // longest).cpu().numpy()] + (pairs % longest).cpu().numpy())
        for name, hidden in _layers(model, batch).items():
            total = hidden.new_zeros(len(pairs), hidden.shape[-1]).index_add_(0, slot, hidden[real])  # (w, d)
            mean = total / torch.bincount(slot, minlength=len(pairs))[:, None]
            parts.setdefault(name, []).append(mean.float().cpu().numpy())
    order = np.concatenate(numbers)
    known = np.zeros(first[-1], dtype=np.bool_)
    known[order] = True
    by_place = np.argsort(order)
    return {name: np.concatenate(part)[by_place] for name, part in parts.items()}, known


def _layers(model: PreTrainedModel, batch: BatchEncoding) -> dict[str, Tensor]:
    """{name: (n, t, d)}; the last one as the model gives it, after a last norm where it has one."""
    names = ("input_ids", "attention_mask")
    out = model.base_model(**{name: batch[name] for name in names}, output_hidden_states=True)
    first, *middle = out.hidden_states[:-1]
    all_of_them = [first, *middle, out.last_hidden_state]
    return {f"layer {place}" if place else "embeddings": hidden for place, hidden in enumerate(all_of_them)}


def _batches(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], length: int
) -> Iterator[tuple[npt.NDArray[np.int64], BatchEncoding]]:
    """Texts of like length together, with their places."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        yield (
            places,
            tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=length,
                return_offsets_mapping=True,
                return_tensors="pt",
            ),
        )
