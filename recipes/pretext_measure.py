"""What a pretext run is judged by: its own question on held-out images, and what its features know of the labels."""

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
from modalities.vision.backbones import layers

Floats = NDArray[np.float32]

COLUMNS = [
    Column("held_out_accuracy", "pretext accuracy"),
    Column("held_out_loss", "pretext loss", percent=False),
    Column("knn", "kNN"),
    Column("probe", "linear probe"),
    Column("best_probe", "probe of best layer"),
    Column("tuned", "all trained on labels"),
]


@dataclass(frozen=True)
class ProbeConfig:
    """How frozen features are measured."""

    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    rows: int = 10_000
    """Labelled training images that probes and training on labels take at most, evenly spaced."""

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise ValueError(f"eval.seeds is {self.seeds}; it must not be negative.")
        if self.rows < 1:
            raise ValueError(f"eval.rows is {self.rows}; it must be at least 1 (without labels nothing is probed).")


@dataclass(frozen=True)
class EvalConfig(ProbeConfig):
    """How the trained encoder and what it is compared with are measured."""

    classic: bool = True
    """Compare with raw pixels, and with colour and gradient histograms."""
    supervised_epochs: float = 10.0
    """Train on the labels of `rows` images for this long: a new encoder, which is the bound, and this one. 0 does
    neither."""
    fractions: str = ""
    """Shares of the labels to learn from, frozen and fine-tuned, such as 0.01,0.1,1; empty leaves the study out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.supervised_epochs < 0:
            raise ValueError(f"eval.supervised_epochs is {self.supervised_epochs}; it must not be negative.")
        try:
            shares = self.shares
        except ValueError:
            shares = [0.0]
        if not all(0 < share <= 1 for share in shares):
            raise ValueError(f"eval.fractions {self.fractions!r} must be numbers above 0 and at most 1, with commas.")

    @property
    def shares(self) -> list[float]:
        """`fractions` as numbers, ascending."""
        return sorted(float(share) for share in self.fractions.split(",") if share.strip())


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
    chosen, test = evenly(_with_label(data.train), cfg.rows), _with_label(data.test)
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


def _with_label(rows: Rows) -> Rows:
    return rows.select([place for place, label in enumerate(rows.labels) if label is not None])


@torch.inference_mode()
def features(encoder: PreTrainedModel, rows: Rows, processor: Any) -> dict[str, Floats]:
    """Features of whole images from every layer, {name: (n, d)}, the last layer last, through the image processor."""
    parts = [layers(encoder, pixels.to(encoder.device)) for pixels in pixel_batches(rows, processor)]
    return {name: torch.cat([part[name] for part in parts]).float().cpu().numpy() for name in parts[0]}


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


def explain(asked: str, known: Labelled | None, best: dict[str, str]) -> str:
    """What the table's columns mean, in words. asked: how many images the pretext task is asked of, and which; best:
    {row: name of the layer that was chosen}."""
    words = f"The pretext task is asked of {asked}."
    if known is None:
        return words
    words += (
        f" kNN and probes: accuracy on {len(known.labels)} held-out images, from frozen features of "
        f"{len(known.train_labels)} labelled training images."
    )
    if known.unreadable:
        words += f" {known.unreadable} more could not be decoded."
    if best:
        chosen = ", ".join(f"{layer} ({row})" for row, layer in best.items())
        words += f" The best layer was chosen on a fifth of the training images: {chosen}."
    return words


def shown(columns: list[Column], rows: list[Row]) -> list[Column]:
    """The columns, without the pretext loss where there is an accuracy to show."""
    asked = any("held_out_accuracy" in row.metrics for row in rows)
    return [column for column in columns if not (asked and column.key == "held_out_loss")]
