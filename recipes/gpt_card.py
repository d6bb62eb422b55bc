"""What a causal language model leaves for people: pictures, and texts that it made up."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from evaluation.context_curve import context_curve, loss_by_context
from evaluation.plots import loss_curve
from evaluation.report import Row
from modalities.text.gpt import Gpt
from modalities.text.ngram_lm import NgramLm
from modalities.text.rows import TextSet
from recipes import text_card
from recipes.gpt_measure import EvalConfig, HeldOut, foresee
from recipes.run import Run

_METHODS = {
    "gpt2": ("GPT-2", "Radford et al. 2019, Language Models are Unsupervised Multitask Learners"),
    "llama": ("Llama", "Touvron et al. 2023, [2302.13971](https://arxiv.org/abs/2302.13971)"),
    "neural-ngram": ("Neural n-gram model", "Bengio et al. 2003, Journal of Machine Learning Research 3"),
}
_LOAD = """
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("model"{code})    # or the name of the repository
model = AutoModelForCausalLM.from_pretrained("model"{code})
prompt = tokenizer("In the", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**prompt, do_sample=True, max_new_tokens=40)[0]))
"""


def write_card(
    run: Run, task: Gpt | NgramLm, data: TextSet, results: str, ours: Row, pictures: dict[str, str], cfg: EvalConfig
) -> None:
    """README.md of the output folder."""
    kind = task.export().config.model_type
    method, paper = _METHODS[kind]
    text_card.write_card(
        run,
        task.export(),
        data,
        None,
        method=method,
        paper=f"it learnt to say each next token ({paper})",
        load=_LOAD.format(code=", trust_remote_code=True" if kind == "neural-ngram" else ""),
        results=results,
        scores={key: value for key, value in ours.metrics.items() if isinstance(value, float)},
        pictures=pictures,
        pipeline_tag="text-generation",
        tags=["causal-lm", kind],
        more=samples(task, cfg, run.config.train.seed),
    )


def draw_pictures(out: Path, task: Gpt | NgramLm, data: HeldOut, length: int, others: Sequence[Row]) -> dict[str, str]:
    """Loss curve, with the loss of guessing, and the held-out loss by what was read before: {file: caption}."""
    loss_curve(
        out / "metrics.jsonl", out / "loss.png", chance=math.log(len(task.tokenizer)), asked="held-out beginnings"
    )
    # Windows that hardly overlap: there are tokens with little before them, and tokens with much.
    foreseen = foresee(task, data.documents, length, 1)
    counted = {
        row.name: math.log(perplexity)
        for row in others
        if isinstance(perplexity := row.metrics["perplexity"], float)  # not one for each seed
    }
    curve = loss_by_context(-foreseen.log_probs, foreseen.before)
    context_curve({"this run": curve}, counted, out / "context.png")
    return {
        "context.png": "Loss on held-out documents by how many tokens the model has read before",
        "loss.png": "Loss while training",
    }


def samples(task: Gpt | NgramLm, cfg: EvalConfig, seed: int) -> str:
    """Markdown: texts that the model goes on with from nothing and from each prompt, as far as it reads; the first
    draw, not the best."""
    if not cfg.new_tokens:
        return ""
    tokenizer, model = task.tokenizer, task.export().eval()
    parts = [
        f"## Samples\n\nTemperature {cfg.temperature:g}, seed {seed}, at most {cfg.new_tokens} tokens, the first draw."
    ]
    nothing = [""] if tokenizer("").input_ids else []  # a tokenizer without bos knows no beginning
    for prompt in [*nothing, *(cfg.prompts.split("|") if cfg.prompts else [])]:
        torch.manual_seed(seed)
        given = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        room = min(cfg.new_tokens, _longest(model) - given["input_ids"].shape[1])
        if room < 1:
            parts.append(f"> **{prompt}** (as many tokens as the model reads, so there is nothing to add)")
            continue
        said = model.generate(
            **given, max_new_tokens=room, do_sample=True, temperature=cfg.temperature, top_k=0,
            pad_token_id=tokenizer.pad_token_id,
        )[0, given["input_ids"].shape[1] :]  # fmt: skip
        text = " ".join(tokenizer.decode(said, skip_special_tokens=True).split())
        parts.append(f"> **{prompt}** {text}" if prompt else f"> {text}")
    return "\n\n".join(parts)


def _longest(model: PreTrainedModel) -> int:
    """Tokens that the model has positions for; an n-gram model needs none."""
    return getattr(model.config, "max_position_embeddings", sys.maxsize)
