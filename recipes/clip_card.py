"""What a CLIP run leaves for people: pictures and a model card."""

from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult

from evaluation.arrays import unit_rows
from evaluation.plots import loss_curve, neighbour_sheet, similarity_matrix
from modalities.image_text.clip import Clip
from modalities.image_text.collate import PairCollate
from modalities.image_text.encode import encode_images, encode_texts
from modalities.image_text.pairs import Pairs
from modalities.pictures.batches import thumbnails
from recipes.clip_measure import explain
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

_PAIRS, _QUERIES, _NEAREST = 12, 8, 5


def draw_pictures(out: Path, task: Clip, collate: PairCollate, data: Pairs, chance: float | None) -> dict[str, str]:
    """Loss curve (with the loss of guessing), similarities of held-out pairs, and queries with their nearest images:
    {file: caption}."""
    credit = f"Images: {data.credit}" if data.credit else ""
    loss_curve(out / "metrics.jsonl", out / "loss.png", chance=chance)
    images = unit_rows(encode_images(task, collate, data.test))  # (n, d)
    captions = [each[0] for each in data.test.captions]
    texts = unit_rows(encode_texts(task, collate, captions))  # (n, d)
    cosines = texts @ images.T  # (n, n)
    shown = thumbnails(data.test, collate.side)
    # Drawn, not chosen: a picked example shows what its picker wishes.
    drawn = np.random.default_rng(0).permutation(len(captions))
    pairs, queries = drawn[:_PAIRS], drawn[_PAIRS : _PAIRS + _QUERIES]
    similarity_matrix(
        cosines[np.ix_(pairs, pairs)],
        out / "similarity.png",
        [shown[place] for place in pairs],
        [captions[place] for place in pairs],
        credit=credit,
    )
    nearest = np.argsort(-cosines, axis=1)[:, :_NEAREST]  # (n, 5)
    neighbour_sheet(
        [captions[query] for query in queries],
        [[shown[place] for place in nearest[query]] for query in queries],
        [(nearest[query] == query).tolist() for query in queries],
        out / "neighbours.png",
        credit=credit,
    )
    return {
        "neighbours.png": "Captions of held-out images and the five images nearest to each; the right one is framed",
        "similarity.png": "Cosines between captions and images of held-out pairs",
        "loss.png": "Loss, and retrieval while training",
    }


def write_card(
    run: Run, task: Clip, data: Pairs, table: str, scores: dict[str, float], pictures: dict[str, str]
) -> None:
    """README.md of the output folder."""
    model, processor = type(task.encoder).__name__, type(task.processor).__name__
    size = sum(weight.numel() for weight in task.encoder.parameters()) / 1e6
    count = f"{data.counts['train']:,} images" if "train" in data.counts else "a stream of images"
    results = [
        EvalResult(
            task_type="image-text-retrieval",
            dataset_type=data.name,
            dataset_name=data.name,
            metric_type="recall@1",
            metric_value=round(scores[name], 4),
            metric_name=f"{name.removesuffix('_r1').replace('_', ' ')} recall@1",
        )
        for name in ("text_to_image_r1", "image_to_text_r1")
    ]
    card = model_card(
        title=f"CLIP on {data.name}",
        summary=(
            f"Image and text towers ({size:.1f} M parameters) trained from captions alone on {count} with the "
            f"contrastive objective of CLIP ([2103.00020](https://arxiv.org/abs/2103.00020))."
        ),
        licence=data.licence,
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "image-text"],
        load=(
            f"from transformers import {model}, {processor}\n\n"
            f'model = {model}.from_pretrained("model")    # or the name of the repository\n'
            f'processor = {processor}.from_pretrained("model")'
        ),
        data=[DataSource(data.name, data.licence, data.credit)],
        results=f"{table}\n\n{explain(data)}",
        limits=(
            "It knows what its captions name and nothing else. Only what stands in the table was measured; biases of "
            "the data were not."
        ),
        pictures=pictures,
        scores=results,
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
