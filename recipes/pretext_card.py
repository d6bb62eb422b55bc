"""What a pretext run leaves for people: pictures and a model card."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import EvalResult
from transformers import PreTrainedModel

from evaluation.arrays import unit_rows
from evaluation.charts import label_curve
from evaluation.plots import loss_curve, neighbour_sheet
from evaluation.sheets import panel_sheet, saliency_sheet
from modalities.draws import mix
from modalities.pictures.batches import pixel_batches, readable, thumbnails
from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.backbones import build_image_processor
from modalities.vision.saliency import saliency
from modalities.vision.task import VisionTask
from recipes.pretext_labels import Curves
from recipes.pretext_measure import Labelled, evenly, features
from recipes.pretext_tasks import Config, asked_of, build_collate, described, guessing
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

_EXAMPLES, _QUERIES, _NEAREST, _SALIENT = 6, 8, 6, 8
_SIDE = 96  # pixels of a picture in a sheet


def draw_pictures(
    config: Config, task: VisionTask, start: PreTrainedModel, data: ImageSet, known: Labelled | None, curves: Curves
) -> dict[str, str]:
    """What the task does, what its features find alike, where they look, and the loss: {file: caption}.

    start: the encoder before this run.
    """
    out, credit, asked = config.train.out, f"Images: {data.credit}" if data.credit else "", described(config)
    processor = build_image_processor(config.model)
    pictures = {"pretext.png": f"What the task is, on {asked}"}
    panel_sheet(
        illustration(task, asked_of(config, data), build_collate(config, data)), out / "pretext.png", credit=credit
    )
    among = known.train if known else _among(config, data)
    pictures |= _neighbours(out, task, data.test, among, processor, credit)
    shown = data.test.select(_drawn(len(data.test), _SALIENT))
    maps = {
        "before training": saliency(start, next(pixel_batches(shown, processor))),
        "this run": saliency(task.export(), next(pixel_batches(shown, processor))),
    }
    saliency_sheet(list(thumbnails(shown, _SIDE)), maps, out / "saliency.png", credit=credit)
    pictures["saliency.png"] = "Where the features come from: what each place's pixels change in them"
    if curves:
        label_curve(curves, out / "labels.png", credit=credit)
        pictures["labels.png"] = "Accuracy on held-out images by the number of labels"
    loss_curve(out / "metrics.jsonl", out / "loss.png", chance=guessing(config, data), asked=asked)
    return pictures | {"loss.png": f"Loss, and the pretext task on {asked} while training"}


@torch.no_grad()
def illustration(task: VisionTask, rows: Rows, collate: Any, count: int = _EXAMPLES) -> dict[str, Any]:
    """The task on images drawn from `rows`, as columns for a sheet; the same images and views each time."""
    places = _drawn(len(rows), count).tolist()
    batch = collate(rows.__getitems__(places), mix(np.array(places, dtype=np.uint64)))
    device = next(task.parameters()).device
    columns = task.illustrate({name: tensor.to(device) for name, tensor in batch.items()})
    return {
        name: column if isinstance(column, list) else column.float().cpu().permute(0, 2, 3, 1).numpy()
        for name, column in columns.items()
    }


def _drawn(rows: int, count: int) -> np.ndarray:
    """Drawn, not chosen: a picked example shows what its picker wishes."""
    return np.random.default_rng(0).permutation(rows)[:count]


def _among(config: Config, data: ImageSet) -> Rows | None:
    """Training images without labels, where there are any to be had."""
    if not isinstance(data.train, Rows):
        return None
    found = readable(evenly(data.train, config.eval.rows))
    return found if len(found) else None


def _neighbours(
    out: Path, task: VisionTask, test: Rows, train: Rows | None, processor: Any, credit: str
) -> dict[str, str]:
    """Held-out images and those nearest to them among training images, or among each other of a stream."""
    among = test if train is None else train
    queries = _drawn(len(test), _QUERIES)
    others = list(features(task.export(), among, processor).values())[-1]
    found = list(features(task.export(), test.select(queries), processor).values())[-1]
    cosines = unit_rows(found.astype(np.float64)) @ unit_rows(others.astype(np.float64)).T  # (q, n)
    if train is None:
        cosines[range(len(queries)), queries] = -2  # not itself
    nearest = np.argsort(-cosines, axis=1)[:, :_NEAREST]
    neighbour_sheet(
        list(thumbnails(test.select(queries), _SIDE)),
        [list(thumbnails(among.select(row), _SIDE)) for row in nearest],
        [
            [among.labels[place] is not None and among.labels[place] == test.labels[query] for place in row]
            for query, row in zip(queries, nearest.tolist(), strict=True)
        ],
        out / "neighbours.png",
        credit=credit,
    )
    where = "others" if train is None else f"those of {len(among):,} training images"
    return {
        "neighbours.png": f"Held-out images (left) and {where} nearest to each by these features; images of the same "
        "class are framed"
    }


def name_of(task: VisionTask) -> str:
    """The method in words: MAE, split brain."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", type(task).__name__)
    return " ".join(part if part.isupper() else part.lower() for part in parts)


def paper_of(task: VisionTask) -> str:
    """The paper as the method's file names it."""
    return (inspect.getdoc(sys.modules[type(task).__module__]) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")


def write_card(
    run: Run, task: VisionTask, data: ImageSet, results: str, scores: dict[str, float], pictures: dict[str, str]
) -> None:
    """README.md of the output folder."""
    model, name = task.export(), name_of(task)
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    count = f"{data.counts['train']:,} images" if "train" in data.counts else "a stream of images"
    load = (
        "from transformers import AutoImageProcessor, AutoModel\n\n"
        'model = AutoModel.from_pretrained("model")    # or the name of the repository\n'
        'processor = AutoImageProcessor.from_pretrained("model")\n'
        'places = model(**processor(image, return_tensors="pt")).last_hidden_state    # average over places'
    )
    if (run.out / "model" / "pretraining").is_dir():
        load += (
            f"\n\n# pretraining/ beside it holds the whole {type(task.encoder).__name__}, with the decoder, to go on "
            "training from."
        )
    card = model_card(
        title=f"{name[0].upper()}{name[1:]} on {data.name}",
        summary=(
            f"A {type(model).__name__} ({size:.1f} M parameters) trained without labels on {count} by {paper_of(task)}."
        ),
        licence=data.licence,
        pipeline_tag="image-feature-extraction",
        tags=["vision", "pretext-task", name.replace(" ", "-")],
        load=load,
        data=[DataSource(data.name, data.licence, data.credit)],
        results=results,
        limits=(
            "A small encoder for small images, trained on few of them. Only what stands in the table was measured; "
            "biases of the data were not."
        ),
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="image-feature-extraction",
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type="accuracy",
                metric_value=round(scores[key], 4),
                metric_name=words,
            )
            for key, words in (("knn", "kNN accuracy"), ("probe", "linear probe accuracy"))
            if key in scores
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
