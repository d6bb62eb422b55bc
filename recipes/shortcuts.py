"""The shortcut study: what each pretext task learns with its guards up and with them down.

accelerate launch recipes/shortcuts.py                                     # six tasks, both ways
accelerate launch recipes/shortcuts.py --tasks jigsaw --train.steps 1000 --runs 3

A guard is worth its price where the pretext accuracy rises without it and the probe does not. Guards that a preset
leaves down, such as jigsaw's standardised tiles, are down in both. The default is a short training, in which jigsaw
does not get off the ground yet; the second line is for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from torch import Tensor

from evaluation.report import Row
from modalities.pictures.rows import ImageSet
from modalities.vision.backbones import build_image_processor
from modalities.vision.config import DataConfig
from modalities.vision.rotation import Rotation
from modalities.vision.task import VisionTask
from recipes.held_out import count_asked, held_out
from recipes.pretext_card import COLUMNS
from recipes.pretext_tasks import PRESETS, Config, asked_of, build_collate, build_task
from recipes.run import Run, launch
from recipes.studies import RANDOM, at_random, begin, chosen
from recipes.vision_config import ProbeConfig, identity
from recipes.vision_measure import Labelled, measure
from trainers.config import TrainConfig
from trainers.loop import fit

GUARDS: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    # task: guards in words, and the options of the task and of its views that take them down
    "rotation": ("exact turns", {}, {}),
    "relative-patch": ("gap, jitter, colour", {"gap": 0, "jitter": 0, "colour": "none"}, {}),
    "jigsaw": ("gap, jitter, grey", {"gap": 0, "jitter": 0, "channel_shift": 0}, {"grey": 0.0}),
    "counting": ("another picture's margin", {"margin": 0.0}, {}),
    "exemplar": ("changed colours", {}, {"jitter": 0.0, "grey": 0.0}),
    "cpc": ("distance, changed patches", {"nearest": 1, "drop_colour": 0.0, "flip": 0.0, "jitter": 0.0}, {}),
}


@dataclass(frozen=True)
class ShortcutConfig:
    """Options of the shortcut study."""

    tasks: str = ",".join(GUARDS)
    """Pretext tasks, with commas: rotation, relative-patch, jigsaw, counting, exemplar and cpc; each with the
    encoder and the options it has in the recipe pretext.py."""
    runs: int = 1
    """Trainings of each kind, with the seeds train.seed, train.seed + 1 and so on."""
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/shortcuts"), batch_size=32, steps=200, lr=2e-3, weight_decay=0.05, tracker="none"
        )
    )
    """The same for every training."""
    eval: ProbeConfig = field(default_factory=ProbeConfig)

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ValueError(f"runs is {self.runs}; it must be at least 1.")


class ResampledRotation(Rotation):
    """Rotation with its guard down: turned pictures are interpolated half a pixel beside the grid, as by a turn about
    the wrong centre, and upright ones stay sharp."""

    def all_turns(self, views: Tensor) -> Tensor:
        """Every view in every turn, (turns*n, 3, h, w)."""
        upright, turned = super().all_turns(views).tensor_split([len(views)])
        return torch.cat([upright, F.avg_pool2d(F.pad(turned, (0, 1, 0, 1), mode="replicate"), 2, stride=1)])


def main(config: ShortcutConfig) -> None:
    """Train every task with and without its guards, and print both side by side."""
    tasks = chosen(config.tasks, GUARDS, "tasks")
    run, data, known = begin(config)
    encoders = {f"{RANDOM} ({PRESETS[name].model.kind})": PRESETS[name].model for name in tasks}
    start = at_random(encoders, known, config.eval.seeds, run.accelerator.device)
    rows = []
    for name, (guards, _, _) in tasks.items():
        for guarded, words in ((True, f"{name}, guarded ({guards})"), (False, f"{name}, unguarded")):
            found: dict[str, list[float]] = {}
            for seed in range(config.train.seed, config.train.seed + config.runs):
                options = cell(config, name, guarded, seed)
                scores, best = train_and_measure(options, guarded, data, known, run)
                for key, value in scores.items():
                    found.setdefault(key, []).append(value)
                said = [f"{column.title} {scores[column.key]:.3f}" for column in COLUMNS if column.key in scores]
                run.say(f"{words}, seed {seed}: {', '.join(said)} (best layer: {best})")
            rows.append(Row(words, dict(found)))
    if run.main:
        run.report(
            [*start, *rows],
            COLUMNS,
            start[0].name,
            note(config, count_asked(data.test, config.train.batch_size, run.accelerator.num_processes), known),
        )


def note(config: ShortcutConfig, asked: int, known: Labelled) -> str:
    """What the table's columns mean, in words. asked: number of held-out images that the pretext task is asked of."""
    return (
        f"After {config.train.steps} steps. The pretext task is asked of {asked} held-out images, exemplar's of new "
        "views of training images. kNN and linear probe: accuracy "
        f"on {len(known.labels)} held-out images, from frozen features of the last layer on {len(known.train_labels)} "
        "labelled training images; probe of best layer: of the layer that was chosen on a fifth of these training "
        "images."
    )


def cell(config: ShortcutConfig, name: str, guarded: bool, seed: int) -> Config:
    """Options of one training."""
    preset, (_, task, views) = PRESETS[name], GUARDS[name]
    out = config.train.out / "cells" / f"{name}-{'guarded' if guarded else 'unguarded'}-{seed}"
    return replace(
        preset,
        data=config.data,
        views=preset.views if guarded else replace(preset.views, **views),
        task=preset.task if guarded else replace(preset.task, **task),  # type: ignore[type-var]
        train=replace(config.train, out=out, seed=seed),
    )


def train_and_measure(
    config: Config, guarded: bool, data: ImageSet, known: Labelled, run: Run
) -> tuple[dict[str, float], str]:
    """The pretext task on held-out images, what the features know of the labels, and the best layer's name."""
    set_seed(config.train.seed)
    collate = build_collate(config, data)
    task = fit(build(config, guarded, data), data.train, collate, config.train, identity=identity(config, data))
    asked = held_out(task, collate, asked_of(config, data), config.train.batch_size, run.accelerator)
    scores, best = measure(task.export(), known, build_image_processor(config.model))
    return {f"held_out_{key}": value for key, value in asked.items()} | scores, best


def build(config: Config, guarded: bool, data: ImageSet) -> VisionTask:
    """The task; rotation's guard is no option, for nobody would want it down."""
    task = build_task(config, data)
    if not guarded and isinstance(task, Rotation):
        task.__class__ = ResampledRotation
    return task


if __name__ == "__main__":
    launch(main, {"laptop": ShortcutConfig()}, __doc__ or "")
