"""What a BERT run leaves for people: hidden words of held-out text and what the model says, pictures, and the card."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.attention_map import attention_map
from evaluation.plots import loss_curve
from modalities.text.bert import Bert
from modalities.text.rows import TextSet
from modalities.text.sentences import sentences
from recipes.run import Run
from recipes.text_card import write_card
from recipes.text_measure import Probes

_EXAMPLES, _GUESSES = 12, 4
_SHORTEST, _LONGEST = 8, 24  # words of a sentence to show
_TOKENS, _HEADS = 24, 4  # of a picture

_METHODS = {
    "bert": ("BERT", "Devlin et al. 2018", "1810.04805"),
    "roberta": ("RoBERTa", "Liu et al. 2019", "1907.11692"),
    "albert": ("ALBERT", "Lan et al. 2019", "1909.11942"),
    "modernbert": ("ModernBERT", "Warner et al. 2024", "2412.13663"),
    "electra": ("Masked ELECTRA", "the generator of Clark et al. 2020", "2003.10555"),
}


def examples(data: TextSet, count: int = _EXAMPLES) -> list[str]:
    """Sentences of held-out documents: drawn, not chosen, for a picked example shows what its picker wishes."""
    found = [sentence for row in data.test.texts for sentence in sentences(row[0])]
    found = [sentence for sentence in found if _SHORTEST <= len(sentence.split()) <= _LONGEST]
    drawn = np.random.default_rng(0).permutation(len(found))[:count]
    return [found[place] for place in drawn]


@torch.inference_mode()
def fill_masks(task: Bert, texts: list[str], length: int) -> str:
    """A table in Markdown: each text with a word hidden, the word, and the likeliest tokens in its place."""
    tokenizer, device = task.tokenizer, next(task.parameters()).device
    lines = ["| hidden word | the likeliest in its place | text |", "|---|---|---|"]
    for number, text in enumerate(texts):
        encoded = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        words = np.array([-1 if word is None else word for word in encoded.word_ids(0)])
        whole = [w for w in range(words.max() + 1) if (words == w).sum() == 1 and _letters(encoded, text, w)]
        if not whole:
            continue
        word = whole[int(np.random.default_rng(number).integers(len(whole)))]
        place = int(np.flatnonzero(words == word)[0])
        inputs = {name: encoded[name].to(device) for name in ("input_ids", "attention_mask")}
        labels = torch.full_like(inputs["input_ids"], -100)
        labels[0, place] = inputs["input_ids"][0, place]
        inputs["input_ids"][0, place] = tokenizer.mask_token_id
        scores, _, _ = task.predict({**inputs, "labels": labels})
        chances, guesses = scores[0].float().softmax(0).topk(_GUESSES)
        said = ", ".join(
            f"{str(tokenizer.decode([guess])).strip()} ({chance:.0%})"
            for guess, chance in zip(guesses.tolist(), chances.tolist(), strict=True)
        )
        start, end = encoded.word_to_chars(0, word)
        shown = f"{text[:start]}**\\_\\_\\_**{text[end:]}".replace("|", "\\|")
        lines.append(f"| {text[start:end].strip()} | {said} | {shown} |".replace("\n", " "))
    return "\n".join(lines)


def _letters(encoded: object, text: str, word: int) -> bool:
    start, end = encoded.word_to_chars(0, word)  # type: ignore[attr-defined]
    return text[start:end].strip().isalpha()


@torch.inference_mode()
def attention(task: Bert, text: str, length: int) -> tuple[NDArray[np.float32], list[str]]:
    """Who looks at whom in the last layer, (heads, t, t), and the tokens."""
    encoded = task.tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
    model: Any = task.export().base_model
    device = next(task.parameters()).device
    inputs = {name: encoded[name].to(device) for name in ("input_ids", "attention_mask")}
    kind = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the fused kernels keep no attention
    maps = model(**inputs, output_attentions=True).attentions[-1][0].float().cpu().numpy()
    model.set_attn_implementation(kind)
    return maps, list(task.tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist()))


def draw_pictures(out: Path, task: Bert, data: TextSet, length: int, chance: float) -> dict[str, str]:
    """The loss, and attention in a held-out sentence: {file: caption}. chance: the loss of token frequencies alone."""
    loss_curve(out / "metrics.jsonl", out / "loss.png", chance=chance, asked="held-out text")
    pictures = {"loss.png": "Loss of hidden tokens (nats) while training; the line is that of token frequencies alone"}
    if shown := examples(data, 1):
        maps, tokens = attention(task, shown[0], min(length, _TOKENS))
        attention_map(maps[:_HEADS], tokens, out / "attention.png", credit=data.credit)
        pictures["attention.png"] = "Who looks at whom in the last layer, head by head, in a held-out sentence"
    return pictures


def write_bert_card(
    run: Run,
    task: Bert,
    data: TextSet,
    probes: Probes,
    results: str,
    scores: dict[str, float],
    length: int,
    pictures: dict[str, str],
) -> None:
    """README.md of the output folder."""
    family = task.encoder.config.model_type
    name, who, paper = _METHODS[family]
    auto = "AutoModelForMaskedLM" if task.pairs == "none" else "AutoModelForPreTraining"
    load = (
        f"from transformers import AutoTokenizer, {auto}\n\n"
        f'model = {auto}.from_pretrained("model")    # or the name of the repository\n'
        'tokenizer = AutoTokenizer.from_pretrained("model")\n'
        "# features: AutoModel.from_pretrained does without the vocabulary; average last_hidden_state over the tokens"
    )
    shown = fill_masks(task, examples(data), length)
    write_card(
        run,
        task.export(),
        data,
        probes,
        method=name,
        paper=f"{name} ({who}, [{paper}](https://arxiv.org/abs/{paper}))",
        load=load,
        results=results,
        scores=scores,
        pictures=pictures,
        pipeline_tag="fill-mask",
        tags=["masked-language-model", family],
        more=f"Words hidden from held-out sentences, drawn at random, and what the model says of them:\n\n{shown}",
    )
