"""What a run on sentences leaves for people: pictures, sentences found alike, and a model card."""

import inspect
import sys
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult

from evaluation.arrays import unit_rows
from evaluation.plots import loss_curve, similarity_matrix
from modalities.text.rows import TextSet
from modalities.text.sentence_encoder import SentenceTask
from recipes.run import Run
from recipes.sentences_measure import Encode, Judged
from trainers.hub.card import DataSource, model_card

_SHOWN, _QUERIES, _NEAREST, _LONGEST = 10, 6, 2, 160
_SCORES = {
    "sts": ("spearman_cosine", "STS, Spearman"),
    "retrieval_r1": ("recall", "translation, recall at 1"),
    "topic": ("accuracy", "topic, linear probe"),
}


def draw_pictures(out: Path, encode: Encode, judged: Judged) -> dict[str, str]:
    """The loss, and cosines of held-out texts as published: {file: caption}."""
    loss_curve(out / "metrics.jsonl", out / "loss.png", asked="judged pairs")
    first, second = _texts(judged, _SHOWN)
    left, right = (unit_rows(encode(texts).astype(np.float64)) for texts in (first, second))
    across = "the same texts" if judged.pairs is None else "the other translation, in the same order"
    similarity_matrix(
        left @ right.T, out / "similarity.png", captions=[_cut(text, 70) for text in first], across=across
    )
    return {
        "similarity.png": "Cosines of held-out texts, drawn at random, and " + across,
        "loss.png": "Loss, and agreement with people's judgements while training",
    }


def nearest(encode: Encode, judged: Judged) -> str:
    """A table in Markdown: held-out texts, drawn at random, and those nearest to each among the others."""
    texts = list(dict.fromkeys(_texts(judged)[0]))
    unit = unit_rows(encode(texts).astype(np.float64))
    lines = ["| text | nearest others | cosine |", "|---|---|---:|"]
    for query in np.random.default_rng(0).permutation(len(texts))[:_QUERIES].tolist():
        cosines = unit @ unit[query]
        cosines[query] = -2  # not itself
        for place, other in enumerate(np.argsort(-cosines)[:_NEAREST].tolist()):
            cells = ("" if place else _cut(texts[query]), _cut(texts[other]), f"{cosines[other]:.2f}")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def write_card(
    run: Run,
    task: SentenceTask,
    encode: Encode,
    data: TextSet,
    judged: Judged,
    learnt: str,
    results: str,
    scores: dict[str, float],
    pictures: dict[str, str],
) -> None:
    """README.md of the output folder. encode: texts to vectors as published. learnt: what else to say of
    its training."""
    method = type(task).__name__
    width = encode(["one"]).shape[1]
    paper = (inspect.getdoc(sys.modules[type(task).__module__]) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
    size = sum(weight.numel() for weight in task.encoder.parameters()) / 1e6
    card = model_card(
        title=f"{method} on {data.name}",
        summary=(
            f"A {type(task.encoder).__name__} ({size:.1f} M parameters) that turns a text of up to {task.length} "
            f"tokens into {width} numbers ({task.pooling} pooling), trained on {data.name} by {paper}. {learnt}"
        ),
        licence=data.licence,
        pipeline_tag="sentence-similarity",
        tags=["text", "sentence-embeddings", method.lower()],
        load=(
            "from sentence_transformers import SentenceTransformer\n\n"
            'model = SentenceTransformer("model")    # or the name of the repository\n'
            'vectors = model.encode(["a text", "another one"])\n'
            "model.similarity(vectors, vectors)\n\n"
            "# AutoModel.from_pretrained and AutoTokenizer.from_pretrained read the same folder, without the pooling."
        ),
        data=[DataSource(data.name, data.licence, data.credit)],
        results=f"{results}\n\nHeld-out texts and those nearest to them:\n\n{nearest(encode, judged)}",
        limits=(
            "It knows texts like those it was trained on. Only what stands in the table was measured; biases "
            "of the data were not."
        ),
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="sentence-similarity",
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type=kind,
                metric_value=round(scores[key], 4),
                metric_name=name,
            )
            for key, (kind, name) in _SCORES.items()
            if key in scores
        ],
        command=run.command,
        library="sentence-transformers",
    )
    (run.out / "README.md").write_text(card)


def _texts(judged: Judged, count: int | None = None) -> tuple[list[str], list[str]]:
    """Held-out texts and their other wordings, drawn at random; the texts themselves where there are none."""
    alone = [[text, text] for text in dict.fromkeys(judged.first)]
    pairs = alone if judged.pairs is None else judged.pairs.texts
    drawn = np.random.default_rng(0).permutation(len(pairs))[:count]
    return [pairs[i][0] for i in drawn], [pairs[i][1] for i in drawn]


def _cut(text: str, longest: int = _LONGEST) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rsplit(" ", 1)[0] + " …"
