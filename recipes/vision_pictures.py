"""Pictures that every run of an encoder leaves: what its task does, what its features find alike, where they look."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from evaluation.arrays import unit_rows
from evaluation.charts import label_curve
from evaluation.plots import neighbour_sheet
from evaluation.sheets import saliency_sheet
from modalities.draws import mix
from modalities.pictures.batches import pixel_batches, readable, thumbnails
from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.backbones import build_image_processor
from modalities.vision.saliency import saliency
from modalities.vision.task import VisionTask
from recipes.vision_config import VisionConfig
from recipes.vision_labels import Curves
from recipes.vision_measure import Labelled, evenly, last_layer

_EXAMPLES, _QUERIES, _NEAREST, _SALIENT = 6, 8, 6, 8
_SIDE = 96  # pixels of a picture in a sheet


def draw_features(
    config: VisionConfig,
    trained: PreTrainedModel,
    start: PreTrainedModel,
    data: ImageSet,
    known: Labelled | None,
    curves: Curves,
) -> dict[str, str]:
    """Neighbours, saliency beside that of the encoder before this run, and accuracy by labels: {file: caption}."""
    out, credit = config.train.out, credit_of(data)
    processor = build_image_processor(config.model)
    among = known.train if known else _among(config, data)
    pictures = _neighbours(out, trained, data.test, among, processor, credit)
    shown = data.test.select(drawn(len(data.test), _SALIENT))
    maps = {
        "before training": saliency(start, next(pixel_batches(shown, processor))),
        "this run": saliency(trained, next(pixel_batches(shown, processor))),
    }
    saliency_sheet(list(thumbnails(shown, _SIDE)), maps, out / "saliency.png", credit=credit)
    pictures["saliency.png"] = "Where the features come from: what each place's pixels change in them"
    if curves:
        label_curve(curves, out / "labels.png", credit=credit)
        pictures["labels.png"] = "Accuracy on held-out images by the number of labels"
    return pictures


def credit_of(data: ImageSet) -> str:
    """A line below pictures of these data."""
    return f"Images: {data.credit}" if data.credit else ""


@torch.no_grad()
def illustration(task: VisionTask, rows: Rows, collate: Any, count: int = _EXAMPLES) -> dict[str, Any]:
    """The task on images drawn from `rows`, as columns for a sheet; the same images and views each time."""
    places = drawn(len(rows), count).tolist()
    batch = collate(rows.__getitems__(places), mix(np.array(places, dtype=np.uint64)))
    device = next(task.parameters()).device
    columns = task.illustrate({name: tensor.to(device) for name, tensor in batch.items()})
    return {
        name: column if isinstance(column, list) else column.float().cpu().permute(0, 2, 3, 1).numpy()
        for name, column in columns.items()
    }


def drawn(rows: int, count: int) -> NDArray[np.int64]:
    """Places drawn, not chosen: a picked example shows what its picker wishes."""
    return np.random.default_rng(0).permutation(rows)[:count]


def _among(config: VisionConfig, data: ImageSet) -> Rows | None:
    """Training images without labels, where there are any to be had."""
    if not isinstance(data.train, Rows):
        return None
    found = readable(evenly(data.train, config.eval.rows))
    return found if len(found) else None


def _neighbours(
    out: Path, encoder: PreTrainedModel, test: Rows, train: Rows | None, processor: Any, credit: str
) -> dict[str, str]:
    """Held-out images and those nearest to them among training images, or among each other of a stream."""
    among = test if train is None else train
    queries = drawn(len(test), _QUERIES)
    others = last_layer(encoder, among, processor)
    found = last_layer(encoder, test.select(queries), processor)
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
