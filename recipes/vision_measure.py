"""What encoders of pictures are judged by: what their frozen features know of the labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from evaluation.knn import knn
from evaluation.layers import best_layer
from evaluation.probe import linear_probe
from evaluation.report import Column, Row
from modalities.pictures.batches import pixel_batches, readable
from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.backbones import layers, pooled
from recipes.vision_config import ProbeConfig

Floats = NDArray[np.float32]

COLUMNS = [
    Column("knn", "kNN"),
    Column("probe", "linear probe"),
    Column("best_probe", "probe of best layer"),
    Column("tuned", "all trained on labels"),
]


@dataclass(frozen=True)
class Labelled:
    """Rows with a label, and the labels: what features are fitted and judged on."""

    train: Rows
    train_labels: NDArray[np.int64]
    test: Rows
    labels: NDArray[np.int64]
    unreadable: int = 0
    """Training rows that were left out because their pictures cannot be decoded."""


def labelled(data: ImageSet, cfg: ProbeConfig) -> Labelled | None:
    """The labelled rows; None for a stream, whose training rows are not at hand, and without two classes."""
    if not isinstance(data.train, Rows):
        return None
    chosen, test = evenly(with_label(data.train), cfg.rows), with_label(data.test)
    train = readable(chosen)
    if len(test) == 0 or len(set(train.labels)) < 2:
        return None
    return Labelled(train, np.array(train.labels), test, np.array(test.labels), len(chosen) - len(train))


def why_unlabelled(data: ImageSet) -> str:
    """Why `labelled` found nothing, and what that costs."""
    cause = (
        "There are no labels of two classes or more (see data.label_column)"
        if isinstance(data.train, Rows)
        else "A stream's labels are not at hand"
    )
    return f"{cause}: no kNN, no probe, no training on labels."


def evenly(rows: Rows, count: int) -> Rows:
    """At most `count` rows, evenly spaced, for tables may be sorted by what they show."""
    return rows.select(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))


def with_label(rows: Rows) -> Rows:
    """Those that have one."""
    return rows.select([place for place, label in enumerate(rows.labels) if label is not None])


@torch.inference_mode()
def features(encoder: PreTrainedModel, rows: Rows, processor: Any) -> dict[str, Floats]:
    """Features of whole images from every layer, {name: (n, d)}, the last layer last, through the image processor."""
    parts = [layers(encoder, pixels.to(encoder.device)) for pixels in pixel_batches(rows, processor)]
    return {name: torch.cat([part[name] for part in parts]).float().cpu().numpy() for name in parts[0]}


@torch.inference_mode()
def last_layer(encoder: PreTrainedModel, rows: Rows, processor: Any) -> Floats:
    """Features of whole images from the last layer alone, (n, d), as `features` has them."""
    parts = [pooled(encoder, pixels.to(encoder.device)) for pixels in pixel_batches(rows, processor)]
    return torch.cat(parts).float().cpu().numpy()


def measure(encoder: PreTrainedModel, known: Labelled, processor: Any) -> tuple[dict[str, float], str]:
    """kNN and linear probe of the last layer and ("probe/stage 1", ...) of all, and which one was chosen."""
    train, test = (features(encoder, rows, processor) for rows in (known.train, known.test))
    found = {layer: classify(train[layer], test[layer], known) for layer in train}
    best = best_layer(train, known.train_labels)
    scores = found[list(train)[-1]] | {"best_probe": found[best]["probe"]}
    each = {f"{kind}/{layer}": scores[kind] for kind in ("probe", "knn") for layer, scores in found.items()}
    return scores | each, best


def by_layer(rows: list[Row]) -> tuple[list[Row], list[Column]]:
    """The rows that have a linear probe of every layer, with a column for each."""
    found = [row for row in rows if any(key.startswith("probe/") for key in row.metrics)]
    layers = dict.fromkeys(key for row in found for key in row.metrics if key.startswith("probe/"))
    return found, [Column(key, key.removeprefix("probe/")) for key in layers]


def classify(train: Floats, test: Floats, known: Labelled) -> dict[str, float]:
    """kNN and linear probe of frozen features."""
    near = knn(train, known.train_labels, test, known.labels)
    linear = linear_probe(train, known.train_labels, test, known.labels)
    return {
        "knn": near["accuracy"],
        "knn_balanced": near["balanced_accuracy"],
        "probe": linear["accuracy"],
        "probe_balanced": linear["balanced_accuracy"],
    }


def explain(first: str, known: Labelled | None, best: dict[str, str]) -> str:
    """What the table's columns mean, in words. first: of the method's own columns; best: {row: name of the layer that
    was chosen}."""
    if known is None:
        return first
    words = (
        f"{first} kNN and probes: accuracy on {len(known.labels)} held-out images, from frozen features of "
        f"{len(known.train_labels)} labelled training images."
    )
    if known.unreadable:
        words += f" {known.unreadable} more could not be decoded."
    if best:
        chosen = ", ".join(f"{layer} ({row})" for row, layer in best.items())
        words += f" The best layer was chosen on a fifth of the training images: {chosen}."
    return words
