"""Finished pretext runs on the same held-out images, side by side.

python recipes/side_by_side.py     # runs/inpainting and runs/inpainting-adversarial, if recipes/pretext.py made them

draws what stays the same once, and what each run makes of it in columns of its own.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.sheets import panel_sheet
from modalities.vision.backbones import ModelConfig
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from modalities.vision.task import VisionTask
from modalities.vision.views.pipeline import ViewConfig
from recipes.pretext_card import illustration
from recipes.pretext_tasks import PRESETS, Config, asked_of, build_collate, build_task
from recipes.run import read_options
from trainers import checkpoint


@dataclass(frozen=True)
class Options:
    """What to compare."""

    runs: str = "inpainting=runs/inpainting,inpainting-adversarial=runs/inpainting-adversarial"
    """preset=folder for each finished run, with commas."""
    out: Path = Path("runs/side_by_side.png")
    """The picture."""


def main(options: Options) -> None:
    """Draw the runs on the images that the first one's task is asked of."""
    names = dict(pair.strip().split("=", 1) for pair in options.runs.split(",") if "=" in pair)
    if len(names) < 2 or not names.keys() <= PRESETS.keys():
        raise ValueError(f"--runs {options.runs!r} must name two presets or more, each as preset=folder.")
    configs = {name: options_of(name, Path(folder)) for name, folder in names.items()}
    first = next(iter(configs.values()))
    data = load(first.data)
    drawn = {}
    for name, config in configs.items():
        task = restore(build_task(config, data), config.train.out)
        drawn[name] = illustration(task, asked_of(first, data), build_collate(config, data))
    panel_sheet(merged(drawn), options.out, credit=f"Images: {data.credit}" if data.credit else "")
    print(f"Drawn as {options.out}.")


def options_of(name: str, folder: Path) -> Config:
    """The options that a run was made with. Raises ValueError where there is no finished run of that preset."""
    if not (folder / "config.json").is_file() or not checkpoint.checkpoints(folder / "checkpoints"):
        raise ValueError(f"{folder} holds no run; make one with recipes/pretext.py {name} --train.out {folder}.")
    given = json.loads((folder / "config.json").read_text())["options"]
    preset = PRESETS[name]
    return replace(
        preset,
        data=DataConfig(**given["data"]),
        views=ViewConfig(**given["views"]),
        model=ModelConfig(**given["model"]),
        task=type(preset.task)(**given["task"]),
        train=replace(preset.train, out=folder),
    )


def restore(task: VisionTask, folder: Path) -> VisionTask:
    """The task as the newest checkpoint has it."""
    checkpoint.load(checkpoint.checkpoints(folder / "checkpoints")[0], task, None)
    return task.eval()


def merged(drawn: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of every run, {run: {title: column}}, as one sheet's: those that are equal in all runs once."""
    columns: dict[str, Any] = {}
    for title in dict.fromkeys(title for sheet in drawn.values() for title in sheet):
        found = {name: sheet[title] for name, sheet in drawn.items() if title in sheet}
        first = next(iter(found.values()))
        if len(found) == len(drawn) and all(_same(first, column) for column in found.values()):
            columns[title] = first
        else:
            columns |= {f"{title}, {name}": column for name, column in found.items()}
    return columns


def _same(one: Any, other: Any) -> bool:
    return one == other if isinstance(one, list) else bool(np.array_equal(one, other))


if __name__ == "__main__":
    try:
        main(read_options({"inpainting": Options()}, __doc__ or ""))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
