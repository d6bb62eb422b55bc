"""What a code search run leaves for people: its loss curve, and a model card with queries and what they find."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult

from evaluation.arrays import unit_rows
from evaluation.plots import loss_curve
from modalities.text.code_text import CodeText
from modalities.text.rows import TextSet
from recipes.code_text_measure import Encode, pools
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

_QUERIES, _FOUND, _LETTERS = 8, 3, 70


def draw_pictures(out: Path, chance: float) -> dict[str, str]:
    """Loss curve with the loss of guessing, and MRR while training: {file: caption}."""
    loss_curve(out / "metrics.jsonl", out / "loss.png", chance=chance, asked="held-out functions")
    return {"loss.png": "Loss, and mean reciprocal rank of held-out functions while training"}


def examples(data: TextSet, encode: Encode) -> str:
    """A table in Markdown: held-out docstrings, the rank of their function, and the functions that come first."""
    pool = pools(len(data.test))[0]  # in random order: drawn, not chosen
    queries, codes = ([data.test.texts[place][role] for place in pool] for role in (0, 1))
    cosines = unit_rows(encode(queries, "query")[:_QUERIES]) @ unit_rows(encode(codes, "code")).T  # (8, n)
    order = np.argsort(-cosines, axis=1, kind="stable")
    lines = ["| docstring | rank of its function | found first |", "|---|---|---|"]
    for number, row in enumerate(order):
        rank = int(np.flatnonzero(row == number)[0]) + 1
        found = (f"**{_head(codes[place])}**" if place == number else _head(codes[place]) for place in row[:_FOUND])
        lines.append(f"| {_cell(queries[number])} | {rank} | {'<br>'.join(found)} |")
    return "\n".join(lines)


def _head(code: str) -> str:
    """The line that names the function, decorators left out."""
    lines = [line.strip() for line in code.splitlines()]
    return f"`{_cell(next((line for line in lines if line.startswith(('def ', 'async def '))), lines[0]))}`"


def _cell(text: str) -> str:
    short = text if len(text) <= _LETTERS else f"{text[: _LETTERS - 3]}..."
    return short.replace("|", "\\|").replace("`", "'")


def write_card(
    run: Run,
    task: CodeText,
    data: TextSet,
    encode: Encode,
    results: str,
    scores: Mapping[str, float | list[float]],
    pictures: Mapping[str, str],
) -> None:
    """README.md of the output folder."""
    size = sum(weight.numel() for weight in task.encoder.parameters()) / 1e6
    shown = "Held-out docstrings, drawn at random, and the functions nearest to them; the right one is bold:"
    card = model_card(
        title=f"Code search on {data.name}",
        summary=(
            f"A {type(task.encoder).__name__} ({size:.1f} M parameters) that puts docstrings and functions into one "
            f"space, trained on {data.counts['train']:,} pairs of them alone, in the setting of CodeSearchNet "
            "([1909.09436](https://arxiv.org/abs/1909.09436)) with the objective of CLIP "
            "([2103.00020](https://arxiv.org/abs/2103.00020))."
        ),
        licence=data.licence,
        pipeline_tag="sentence-similarity",
        tags=["text", "code", "code-search"],
        load=(
            "from sentence_transformers import SentenceTransformer\n\n"
            'model = SentenceTransformer("model")    # or the name of the repository\n'
            'vectors = model.encode(["Return the loaded module.", "def load_module(self, fullname): ..."])'
        ),
        data=[DataSource(data.name, data.licence, data.credit)],
        results=f"{results}\n\n{shown}\n\n{examples(data, encode)}",
        limits=(
            f"Functions are read to their first {task.cfg.code_length} tokens. It knows the words of its training "
            "functions and little else. Only what stands in the table was measured."
        ),
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="text-retrieval",
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type="mrr",
                metric_value=round(float(np.mean(scores["mrr"])), 4),
                metric_name="docstring to code MRR",
            )
        ],
        command=run.command,
        library="sentence-transformers",
    )
    (run.out / "README.md").write_text(card)
