"""All joint-embedding methods at equal budget: the same pictures, steps and batch, and what each encoder has learnt.

accelerate launch recipes/compare.py                                    # all of them, hours on two cores
accelerate launch recipes/compare.py --methods simclr,byol,dino --seeds 3
accelerate launch recipes/compare.py --only-table                       # what is finished so far

Every training has a folder of its own, and what is finished, or has collapsed, is not run again: the same command goes
on where it stopped. Delete a folder to have it run anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation.charts import method_dots
from evaluation.report import Column, Row
from modalities.pictures.rows import ImageSet
from modalities.vision.config import DataConfig
from recipes.compare_cells import FAMILIES, Scores, cell_of, describe, train
from recipes.compare_references import hog, start_of, supervised
from recipes.joint_build import seen, sees_labels
from recipes.joint_tasks import METHODS, PRESETS, Config
from recipes.run import Run, launch
from recipes.studies import begin, chosen
from recipes.vision_config import ProbeConfig
from recipes.vision_labels import steps_on
from recipes.vision_measure import Labelled
from trainers.config import TrainConfig

COLUMNS = [
    Column("family"),
    Column("encoder"),
    Column("views"),
    Column("negatives"),
    Column("cpu_seconds", "CPU s/step", percent=False),
    Column("seconds", "s/step", percent=False),
    Column("knn", "kNN"),
    Column("probe", "linear probe"),
    Column("few", "few labels"),
    Column("tuned", "trained on labels"),
]
_SHOWN = {"knn": "kNN", "probe": "linear probe"}


@dataclass(frozen=True)
class CompareConfig:
    """Options of the comparison."""

    methods: str = ",".join(PRESETS)
    """Methods, with commas, as the recipe joint_embedding.py names them; each with the options it has there, but for
    the budget."""
    steps: int = 200
    """Of every method."""
    batch_size: int = 128
    """Pictures per step of every method, over all processes together."""
    seeds: int = 1
    """Trainings of each method, with the seeds 0, 1 and so on."""
    supervised_epochs: float = 10.0
    """Train an encoder on all labels for this long, as the bound; 0 for none."""
    few: float = 0.01
    """Share of the labels for the probe from few labels, one of each class at least."""
    only_table: bool = False
    """Train nothing; show what is finished."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto takes bf16 where the GPU has it and fp32 elsewhere."""
    out: Path = Path("runs/compare")
    """Output folder."""
    data: DataConfig = field(default_factory=DataConfig)
    eval: ProbeConfig = field(default_factory=ProbeConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if not 0 < self.few <= 1:
            raise ValueError(f"few is {self.few}; it is a share of the labels, above 0 and at most 1.")
        if self.supervised_epochs < 0:
            raise ValueError(f"supervised_epochs is {self.supervised_epochs}; it must not be negative.")

    @property
    def train(self) -> TrainConfig:
        """What is the same for every method."""
        return TrainConfig(
            out=self.out, steps=self.steps, batch_size=self.batch_size, precision=self.precision, tracker="none"
        )


def main(config: CompareConfig) -> None:
    """Train the methods one after another, and print one table of all; a method that fails says so in its row."""
    presets = chosen(config.methods, PRESETS, "methods")
    run, data, known = begin(config)
    words, starts, before = describe_all(config, presets, data, known, run)
    rows: list[Row] = []
    missing: list[str] = []
    for name, preset in presets.items():
        found: dict[str, list[float]] = {}
        for seed in range(config.seeds):
            cell = cell_of(name, preset, config, data, seed)
            scores = train(cell, data, known, run, config.few, config.only_table)
            if scores.failure:
                missing.append(f"{name}, seed {seed}: {scores.failure}")
                continue
            for key, value in scores.numbers.items():
                if key == "few" and sees_labels(preset):
                    continue  # of more labels than few
                found.setdefault(key, []).append(value)
            run.say(f"{name}, seed {seed}: kNN {scores.numbers['knn']:.3f}, probe {scores.numbers['probe']:.3f}")
        rows.append(Row(name, dict(found), words[name]))
    bound = []
    if config.supervised_epochs and (reached := supervised(config, data, known, run, config.only_table)):
        bound = [Row("supervised, all labels", dict(reached), {"family": "all labels"})]
    if not run.main:
        return
    classic = [Row("HOG and colour histograms", hog(known, config.few))]
    note = " ".join([explain(config, known, rows, starts), on_labels(config, presets, data, known, run), *missing])
    markdown = run.report([*before, *classic, *rows, *bound], COLUMNS, list(presets), note)
    (run.out / "table.md").write_text(f"{markdown}\n\n{note}\n")
    draw(run.out / "methods.png", rows, starts, [*classic, *bound], data.credit)
    run.say(f"Drawn as {run.out / 'methods.png'}; the table is in {run.out / 'table.md'} too.")


def describe_all(
    config: CompareConfig, presets: Mapping[str, Any], data: ImageSet, known: Labelled, run: Run
) -> tuple[dict[str, dict[str, str]], dict[str, Scores], list[Row]]:
    """What stands beside each method's numbers, the measures of what each starts from, and these as rows, each once."""
    words: dict[str, dict[str, str]] = {}
    starts: dict[str, Scores] = {}
    rows: dict[str, Row] = {}
    for name, preset in presets.items():
        cell = cell_of(name, preset, config, data, 0)
        family = FAMILIES[METHODS[type(preset.task)].__name__]
        words[name] = {"family": family, **describe(cell, data)}
        starts[name], key = start_of(cell, data, known, run, config.eval.seeds, config.few)
        if key and key not in rows:
            kind = cell.options.model.kind
            taken = any(row.name.startswith(kind) for row in rows.values())
            title = f"{kind} at random" + (f", as {name} starts" if taken else "")
            rows[key] = Row(title, dict(starts[name].seeds))
    return words, starts, list(rows.values())


def explain(config: CompareConfig, known: Labelled, rows: list[Row], starts: Mapping[str, Scores]) -> str:
    """What the columns mean, and which methods are not above what they started from."""
    words = (
        f"{config.steps} steps of {config.batch_size} pictures each, last layer. kNN and linear probe: accuracy on "
        f"{len(known.labels)} held-out images, from frozen features of {len(known.train_labels)} labelled training "
        f"images; few labels: a probe from a share of {config.few:g} of each class, at least one, over three draws."
    )
    for key, title in _SHOWN.items():
        below = [row.name for row in rows if key in row.metrics and not _above(row, starts[row.name].seeds, key)]
        if below:
            words += f" Not above random initialisation by two standard deviations in {title}: {', '.join(below)}."
    return words


def on_labels(config: CompareConfig, presets: Mapping[str, Config], data: ImageSet, known: Labelled, run: Run) -> str:
    """Which methods had labels themselves, and how many, and how long the bound was trained on them."""
    counts = [f"{name} {len(seen(preset, data)):,}" for name, preset in presets.items() if sees_labels(preset)]
    words = []
    if counts:
        words = [f"These saw labels in training, and so have no number for few: {', '.join(counts)}."]
    if config.supervised_epochs:
        steps = steps_on(known, config.supervised_epochs, run.accelerator.num_processes)
        words.append(f"Trained on labels: {steps:,} steps on {len(known.train):,} images.")
    return " ".join(words)


def _above(row: Row, start: Mapping[str, list[float]], key: str) -> bool:
    values = start.get(key, [])
    if not values:
        return True
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(row.metrics[key])) > float(np.mean(values)) + 2 * spread


def draw(path: Path, rows: list[Row], starts: Mapping[str, Scores], others: list[Row], credit: str) -> None:
    """Dots of every method before the band of what it started from."""
    scores = {
        title: {row.name: row.metrics[key] for row in rows if key in row.metrics} for key, title in _SHOWN.items()
    }
    if not any(scores.values()):
        return
    bands = {title: {name: start.seeds.get(key, []) for name, start in starts.items()} for key, title in _SHOWN.items()}
    reached = {
        title: {row.name: row.metrics.get(key, row.metrics.get("tuned")) for row in others}
        for key, title in _SHOWN.items()
    }
    levels = {
        title: {name: float(np.mean(value)) for name, value in of.items() if value is not None}
        for title, of in reached.items()
    }
    method_dots(scores, bands, levels, path, credit=f"Images: {credit}" if credit else "")


if __name__ == "__main__":
    launch(main, {"laptop": CompareConfig()}, __doc__ or "")
