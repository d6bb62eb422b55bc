"""What joint-embedding runs are measured by besides probes: kNN while training, other data, shifted pictures."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from evaluation.knn import knn
from evaluation.probe import probe_predictions
from evaluation.report import Column, Row
from evaluation.shifts import LEVELS, SHIFTS, shift
from modalities.pictures.batches import pixel_batches, thumbnails
from modalities.vision.backbones import pooled
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from recipes.vision_config import ProbeConfig
from recipes.vision_measure import Labelled, classify, evenly, labelled, last_layer, why_unlabelled

_CHUNK = 256


class Watch:
    """kNN accuracy of few images, which are prepared once: cheap enough for every now and then while training."""

    def __init__(self, known: Labelled, processor: Any, count: int) -> None:
        sides = [evenly(rows, count) for rows in (known.train, known.test)]
        self._labels = [np.array(side.labels) for side in sides]
        self._pixels = [torch.cat(list(pixel_batches(side, processor))) for side in sides]

    def __call__(self, encoder: PreTrainedModel) -> dict[str, float]:
        """{"knn": accuracy}."""
        train, test = (_pooled(encoder, pixels) for pixels in self._pixels)
        return {"knn": knn(train, self._labels[0], test, self._labels[1])["accuracy"]}


@torch.inference_mode()
def _pooled(encoder: PreTrainedModel, pixels: Tensor) -> NDArray[np.float32]:
    parts = [pooled(encoder, some.to(encoder.device)) for some in pixels.split(_CHUNK)]
    return torch.cat(parts).float().cpu().numpy()


def transfer(
    others: Mapping[str, Labelled],
    trained: PreTrainedModel,
    untrained: Callable[[], PreTrainedModel],
    processor: Any,
    seeds: int,
) -> tuple[list[Row], list[Column]]:
    """kNN and linear probe on other data, {name of the source: labelled images}, of random initialisations and of this
    encoder."""
    drawn: dict[str, list[float]] = {}
    ours: dict[str, float] = {}
    for name, known in others.items():
        for seed in range(seeds):
            set_seed(1000 + seed)
            for key, value in _classified(untrained().to(trained.device).eval(), known, processor).items():
                drawn.setdefault(f"{name} {key}", []).append(value)
        found = _classified(trained, known, processor)
        ours |= {f"{name} {key}": value for key, value in found.items()}
    columns = [
        Column(f"{name} {key}", f"{name}, {words}")
        for name in others
        for key, words in (("knn", "kNN"), ("probe", "probe"))
    ]
    return [Row("random initialisation", dict(drawn)), Row("this run", dict(ours))], columns


def read_other(name: str, side: int, cfg: ProbeConfig) -> Labelled:
    """Labelled images of another source.

    Raises:
        ValueError: for data that cannot be read or have no labels.
    """
    data = load(DataConfig(source=name, side=side))
    known = labelled(data, cfg)
    if known is None:
        raise ValueError(f"eval.transfer names {name}. {why_unlabelled(data)}")
    return known


def _classified(encoder: PreTrainedModel, known: Labelled, processor: Any) -> dict[str, float]:
    train, test = (last_layer(encoder, rows, processor) for rows in (known.train, known.test))
    return classify(train, test, known)


def robustness(
    encoders: Mapping[str, PreTrainedModel], known: Labelled, processor: Any, side: int, count: int
) -> dict[str, dict[str, list[float]]]:
    """Accuracy of linear probes that were fitted on clean training images, {row: {kind of shift: shares}}, on `count`
    held-out images as they are and at each level. side: of the images that are shifted, in pixels."""
    chosen = evenly(known.test, count)
    wanted, clean = np.array(chosen.labels), thumbnails(chosen, side)
    shifted = {(kind, level): shift(clean, kind, level) for kind in SHIFTS for level in LEVELS}
    pixels = torch.cat([_prepared(images, processor) for images in (clean, *shifted.values())])
    found = {}
    for name, encoder in encoders.items():
        train = last_layer(encoder, known.train, processor)
        guesses, _ = probe_predictions(train, known.train_labels, _pooled(encoder, pixels))
        right = (guesses.reshape(-1, len(wanted)) == wanted).mean(1)  # clean, then each kind at each level
        at = dict(zip(shifted, right[1:].tolist(), strict=True))
        found[name] = {kind: [float(right[0]), *(at[kind, level] for level in LEVELS)] for kind in SHIFTS}
    return found


def _prepared(images: NDArray[np.uint8], processor: Any) -> Tensor:
    pixels: Tensor = processor(list(images), return_tensors="pt")["pixel_values"]
    return pixels


def robustness_table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[list[Row], list[Column]]:
    """Clean, and of every kind the mean over its levels."""
    rows = []
    for name, kinds in found.items():
        means = {kind: fmean(shares[1:]) for kind, shares in kinds.items()}
        clean = next(iter(kinds.values()))[0]
        rows.append(Row(name, {"clean": clean, **means, "all": fmean(means.values())}))
    return rows, [Column("clean"), *(Column(kind) for kind in SHIFTS), Column("all", "all shifts")]
