"""What a run has to beat: itself before training, and features from before representation learning."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import set_seed
from transformers import PreTrainedModel

from evaluation.classic import image_features
from evaluation.report import Row
from modalities.pictures.batches import thumbnails
from recipes.vision_measure import Labelled, classify, measure

_RAW, _CLASSIC = 16, 64  # pixels a side; more of the raw ones brought nothing


def before_training(
    untrained: Mapping[str, Callable[[], PreTrainedModel]],
    known: Labelled,
    processor: Any,
    seeds: int,
    device: torch.device,
) -> tuple[list[Row], dict[str, str]]:
    """Encoders over several random initialisations, {name: what draws one}, and the best layer of each one's first."""
    rows, best = [], {}
    for name, build in untrained.items():
        scores = []
        for seed in range(seeds):
            set_seed(1000 + seed)
            found, layer = measure(build().to(device).eval(), known, processor)
            scores.append(found)
            best.setdefault(name, layer)
        if scores:
            rows.append(Row(name, {key: [each[key] for each in scores] for key in scores[0]}))
    return rows, best


def classic(known: Labelled) -> list[Row]:
    """Pixels as they are, and histograms of colours and gradients."""
    raw = [thumbnails(rows, _RAW).reshape(len(rows), -1) / 255 for rows in (known.train, known.test)]
    histograms = [image_features(thumbnails(rows, _CLASSIC)) for rows in (known.train, known.test)]
    return [
        Row("raw pixels", dict(classify(*raw, known))),
        Row("HOG and colour histograms", dict(classify(*histograms, known))),
    ]
