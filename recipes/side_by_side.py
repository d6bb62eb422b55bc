"""Finished pretext runs on the same held-out images, side by side.

python recipes/side_by_side.py     # runs/inpainting and runs/inpainting-adversarial, if recipes/pretext.py made them

draws what stays the same once, and what each run makes of it in columns of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.sheets import panel_sheet
from modalities.pictures.rows import ImageSet
from modalities.vision.backbones import ModelConfig
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from modalities.vision.task import VisionTask
from modalities.vision.views.pipeline import ViewConfig
from recipes.pretext_tasks import PRESETS, Config, asked_of, build_collate, build_task
from recipes.run import launch
from recipes.vision_pictures import illustration
from trainers import checkpoint
from trainers.config import TrainConfig

_STEP = 0.5 / 255  # values nearer than that are one byte in the picture


@dataclass(frozen=True)
class Options:
    """What to compare."""

    runs: str = "inpainting=runs/inpainting,inpainting-adversarial=runs/inpainting-adversarial"
    """preset=folder for each finished run, with commas."""
    out: Path = Path("runs/side_by_side.png")
    """The picture."""


def main(options: Options) -> None:
    """Draw the runs on the images that the first one's task is asked of."""
    configs = {name: options_of(preset, folder) for name, (preset, folder) in named(options.runs).items()}
    first = next(iter(configs.values()))
    data = load(first.data)
    drawn = {}
    for name, config in configs.items():
        task = restore(config, data)
        drawn[name] = illustration(task, asked_of(first, data), build_collate(config, data))
    panel_sheet(merged(drawn), options.out, credit=f"Images: {data.credit}" if data.credit else "")
    print(f"Drawn as {options.out}.")


def named(runs: str) -> dict[str, tuple[str, Path]]:
    """Preset and folder of every run, by the preset's name, or by the folder's where a preset has several runs."""
    words = [word.strip() for word in runs.split(",") if word.strip()]
    pairs = [(preset, Path(folder)) for preset, _, folder in (word.partition("=") for word in words) if folder]
    if len(pairs) < len(words) or len(set(pairs)) < max(2, len(pairs)):
        raise ValueError(f"--runs {runs!r} must name two different runs or more, each as preset=folder.")
    presets = [preset for preset, _ in pairs]
    if unknown := sorted(set(presets) - PRESETS.keys()):
        raise ValueError(f"--runs names {unknown[0]}, and the presets are {', '.join(PRESETS)}.")
    return {preset if presets.count(preset) == 1 else str(folder): (preset, folder) for preset, folder in pairs}


def options_of(name: str, folder: Path) -> Config:
    """The options that a run was made with.

    Raises:
        ValueError: where there is no finished run of that preset's method, or its newest checkpoint is damaged.
    """
    found = checkpoint.checkpoints(folder / "checkpoints")
    if not (folder / "config.json").is_file() or not found:
        raise ValueError(f"{folder} holds no run; make one with recipes/pretext.py {name} --train.out {folder}.")
    if (wrong := checkpoint.damage(found[0])) is not None:
        raise ValueError(f"{found[0]} is damaged: {wrong}; the command that made this run makes it anew.")
    given = json.loads((folder / "config.json").read_text())["options"]
    made, preset = checkpoint.read_state(found[0])["run"], PRESETS[name]
    if made["method"] != type(preset.task).__name__:
        method = made["method"].removesuffix("Config")
        raise ValueError(f"{folder} holds a run of {method}, not of {name}; name it by its own preset.")
    # Of what decides the weights the checkpoint knows best: config.json may be of a later, refused attempt.
    return replace(
        preset,
        data=DataConfig(**given["data"]),
        views=ViewConfig(**made["views"]),
        model=ModelConfig(**made["model"]),
        task=type(preset.task)(**made["task"]),
        train=TrainConfig(out=folder, **made["train"]),
    )


def restore(config: Config, data: ImageSet) -> VisionTask:
    """The task as its newest checkpoint has it.

    Raises:
        ValueError: where the run was not finished, or had other data, so that images held out here may not be there.
    """
    folder, newest = config.train.out, checkpoint.checkpoints(config.train.out / "checkpoints")[0]
    state = checkpoint.read_state(newest)
    if state["run"]["data"] != data.fingerprint:
        raise ValueError(f"{folder} was trained on other data than the first run; compare runs of the same data.")
    total = config.train.steps or max(1, round(config.train.epochs * (len(data.train) // config.train.batch_size)))
    if state["step"] < total:
        raise ValueError(f"{folder} stopped at step {state['step']} of {total}; its own command goes on from there.")
    task = build_task(config, data)
    checkpoint.load(newest, task, None)
    return task.eval()


def merged(drawn: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of every run, {run: {title: column}}, as one sheet's: those that are equal in all runs once, then the
    others run by run."""
    first, *others = drawn.values()
    same = [title for title in first if all(title in other and _same(first[title], other[title]) for other in others)]
    columns = {title: first[title] for title in same}
    for name, sheet in drawn.items():
        columns |= {f"{title}, {name}": column for title, column in sheet.items() if title not in same}
    return columns


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) or isinstance(other, list):
        return one == other
    return one.shape == other.shape and bool(np.abs(one - other).max() < _STEP)


if __name__ == "__main__":
    launch(main, {"laptop": Options()}, __doc__ or "")
