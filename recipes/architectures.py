"""The architecture study: which encoder learns what from which pretext task (Kolesnikov et al. 2019, arXiv 1901.09005).

accelerate launch recipes/architectures.py                                    # four tasks, three widths and a ViT
accelerate launch recipes/architectures.py --tasks rotation,cpc --encoders resnet-32,convnext-32 --train.steps 600
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from accelerate.utils import set_seed

from evaluation.charts import heat_map
from evaluation.report import Column, Row
from modalities.vision.backbones import ModelConfig, build_image_processor
from modalities.vision.config import DataConfig
from recipes.pretext_tasks import PRESETS, build_collate, build_task, prepare
from recipes.run import launch
from recipes.studies import RANDOM, at_random, begin, chosen
from recipes.vision_config import ProbeConfig, identity
from recipes.vision_measure import measure
from trainers.config import TrainConfig
from trainers.loop import fit

ENCODERS: Mapping[str, ModelConfig] = {
    "resnet-16": ModelConfig(width=16),
    "resnet-32": ModelConfig(width=32),
    "resnet-64": ModelConfig(width=64),
    "vit-128": ModelConfig(kind="vit", width=128, depth=4),
    "convnext-32": ModelConfig(kind="convnext", width=32),
}


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
    eval: ProbeConfig = field(default_factory=ProbeConfig)


def main(config: StudyConfig) -> None:
    """Pretrain every encoder with every task, probe each, and print the grid."""
    tasks, encoders = chosen(config.tasks, PRESETS, "tasks"), chosen(config.encoders, ENCODERS, "encoders")
    run, data, known = begin(config)
    start = at_random(encoders, known, config.eval.seeds, run.accelerator.device)
    rows, left_out = [Row(RANDOM, {row.name: row.metrics["probe"] for row in start if row.metrics})], []
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
    note = (
        f"Linear probe of the last layer after {config.train.steps} steps: accuracy on {len(known.labels)} held-out "
        f"images, from frozen features of {len(known.train_labels)} labelled training images."
    )
    run.report(rows, [Column(name) for name in encoders], RANDOM, " ".join([note, *left_out]))
    values = [[fmean(np.atleast_1d(row.metrics.get(name, -1.0))) for name in encoders] for row in rows]
    heat_map(values, [row.name for row in rows], list(encoders), run.out / "grid.png", "Linear probe, %", data.credit)
    run.say(f"Drawn as {run.out / 'grid.png'}.")


if __name__ == "__main__":
    launch(main, {"laptop": StudyConfig()}, __doc__ or "")
