"""The architecture study: which encoder learns what from which pretext task (Kolesnikov et al. 2019, arXiv 1901.09005).

accelerate launch recipes/architectures.py                                    # four tasks, three widths and a ViT
accelerate launch recipes/architectures.py --tasks rotation,cpc --encoders resnet-32,convnext-32 --train.steps 600
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import numpy as np
import torch
from accelerate.utils import set_seed

from evaluation.charts import heat_map
from evaluation.report import Column, Row
from modalities.vision.backbones import ModelConfig, build_encoder, build_image_processor
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from recipes.pretext_baselines import before_training
from recipes.pretext_measure import EvalConfig, Labelled, labelled, measure
from recipes.pretext_tasks import PRESETS, build_collate, build_task, identity, prepare
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.loop import fit

ENCODERS: Mapping[str, ModelConfig] = {
    "resnet-16": ModelConfig(width=16),
    "resnet-32": ModelConfig(width=32),
    "resnet-64": ModelConfig(width=64),
    "vit-128": ModelConfig(kind="vit", width=128, depth=4),
    "convnext-32": ModelConfig(kind="convnext", width=32),
}
_RANDOM = "random initialisation"

T = TypeVar("T")


@dataclass(frozen=True)
class StudyConfig:
    """Options of the architecture study."""

    tasks: str = "rotation,relative-patch,jigsaw,autoencoder"
    """Pretext tasks, with commas, as the recipe pretext.py names them; each with the options it has there."""
    encoders: str = "resnet-16,resnet-32,resnet-64,vit-128"
    """Encoders, with commas, out of resnet-16, resnet-32, resnet-64, vit-128 and convnext-32."""
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/architectures"), batch_size=32, steps=100, lr=2e-3, weight_decay=0.05, tracker="none"
        )
    )
    """The same for every cell."""
    eval: EvalConfig = field(default_factory=EvalConfig)


def main(config: StudyConfig) -> None:
    """Pretrain every encoder with every task, probe each, and print the grid."""
    tasks, encoders = chosen(config.tasks, PRESETS, "tasks"), chosen(config.encoders, ENCODERS, "encoders")
    run = Run.begin(config)
    with run.accelerator.main_process_first():
        data = load(config.data)
    known = labelled(data, config.eval)
    if known is None:
        raise ValueError("The study compares probes, and this data has no labels to probe for; set data.label_column.")
    device = run.accelerator.device
    rows, left_out = [before(encoders, known, config.eval.seeds, device)], []
    for task_name, preset in tasks.items():
        found: dict[str, float | list[float]] = {}
        for encoder_name, model in encoders.items():
            out = config.train.out / "cells" / f"{task_name}-{encoder_name}"
            cell = replace(preset, data=config.data, model=model, train=replace(config.train, out=out))
            set_seed(config.train.seed)
            try:
                task = build_task(cell, data)
            except ValueError as error:  # MAE is for ViTs alone, split brains for ResNets
                left_out.append(f"No {task_name} with {encoder_name}: {error}")
                continue
            prepare(task, cell, data)
            task = fit(task, data.train, build_collate(cell, data), cell.train, identity=identity(cell, data))
            scores, _ = measure(task.export(), known, build_image_processor(model))
            found[encoder_name] = scores["probe"]
            run.say(f"{task_name} with {encoder_name}: linear probe {scores['probe']:.3f}, kNN {scores['knn']:.3f}")
        rows.append(Row(task_name, found))
    if not run.main:
        return
    note = f"Linear probe on {len(known.labels)} held-out images after {config.train.steps} steps."
    run.report(rows, [Column(name) for name in encoders], _RANDOM, " ".join([note, *left_out]))
    values = [[fmean(np.atleast_1d(row.metrics.get(name, -1.0))) for name in encoders] for row in rows]
    heat_map(values, [row.name for row in rows], list(encoders), run.out / "grid.png", "Linear probe, %", data.credit)
    run.say(f"Drawn as {run.out / 'grid.png'}.")


def chosen(names: str, known: Mapping[str, T], option: str) -> dict[str, T]:
    """The named ones. Raises ValueError for a name that is not known."""
    words = [word.strip() for word in names.split(",") if word.strip()]
    if not words or not set(words) <= known.keys():
        wrong = ", ".join(word for word in words if word not in known) or "nothing"
        raise ValueError(f"--{option} asks for {wrong}; choose from {', '.join(known)}.")
    return {word: known[word] for word in words}


def before(encoders: Mapping[str, ModelConfig], known: Labelled, seeds: int, device: torch.device) -> Row:
    """Probes of the encoders as they start."""
    found: dict[str, float | list[float]] = {}
    for name, model in encoders.items():
        rows, _ = before_training(
            {name: partial(build_encoder, model)}, known, build_image_processor(model), seeds, device
        )
        found |= {row.name: row.metrics["probe"] for row in rows}
    return Row(_RANDOM, found)


if __name__ == "__main__":
    launch(main, {"laptop": StudyConfig()}, __doc__ or "")
