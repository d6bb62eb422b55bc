"""One training of the comparison, kept on disk under all that decides it."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from accelerate.utils import broadcast_object_list, set_seed
from numpy.typing import NDArray
from transformers import PreTrainedModel

from evaluation.few_labels import draw_per_class
from evaluation.probe import linear_probe
from modalities.pictures.rows import ImageSet
from modalities.vision.backbones import build_image_processor
from modalities.vision.config import DataConfig
from recipes.joint_build import build_collate, build_task, made_by
from recipes.joint_tasks import Config
from recipes.run import Run
from recipes.vision_measure import Labelled, classify, last_layer
from trainers import checkpoint
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.loop import fit
from trainers.stop import Collapsed

FAMILIES = {
    **dict.fromkeys(["SimCLR", "NNCLR", "MoCo", "MoCoV3", "InstDisc", "PIRL", "CMC", "AMDIM", "Dense"], "contrast"),
    **dict.fromkeys(["BYOL", "SimSiam", "BarlowTwins", "VICReg", "DINO"], "no negatives"),
    **dict.fromkeys(["SwAV", "SeLa", "DeepCluster", "ODC", "PCL"], "clusters"),
    **dict.fromkeys(["S4L", "UDA"], "few labels"),
    "SupCon": "all labels",
}
_DRAWS = 3  # of few labels


class Budget(Protocol):
    """What is the same for every method."""

    @property
    def data(self) -> DataConfig:
        """What to read."""
        ...

    @property
    def train(self) -> TrainConfig:
        """Steps, batch, precision and output folder."""
        ...

    @property
    def supervised_epochs(self) -> float:
        """Of the bound."""
        ...


@dataclass(frozen=True)
class Cell:
    """One training."""

    name: str
    options: Config


@dataclass
class Scores:
    """What was found of a training, or why there is nothing; of what has no training, by seed."""

    numbers: dict[str, float] = field(default_factory=dict)
    failure: str = ""
    seeds: dict[str, list[float]] = field(default_factory=dict)


def cell_of(name: str, preset: Config, budget: Budget, data: ImageSet, seed: int) -> Cell:
    """The preset with the budget of all, in a folder that is named by what decides its weights."""
    same = budget.train
    train = replace(
        preset.train,
        batch_size=same.batch_size,
        steps=same.steps,
        precision=same.precision,
        seed=seed,
        evaluate_every=0,
        tracker="none",
    )
    options = replace(preset, data=budget.data, train=train)
    key = digest([made_by(options, data), train.identity()])[:8]
    folder = same.out / "methods" / f"{name}-{seed}-{key}"
    return Cell(name, replace(options, train=replace(train, out=folder)))


def describe(cell: Cell, data: ImageSet) -> dict[str, str]:
    """Encoder, views and negatives in words; of a method that cannot be built nothing."""
    options = cell.options
    try:
        task = build_task(options, data)
    except ValueError:
        return {}
    teacher = sum(isinstance(part, PreTrainedModel) for part in task.children()) > 1
    negatives = task.negatives(options.train.batch_size)
    return {
        "encoder": options.model.kind + (", teacher" if teacher else ""),
        "views": task.views_in_words(1).replace(" views", ""),  # of one picture
        "negatives": f"{negatives:,}" if negatives else "none",
    }


def train(cell: Cell, data: ImageSet, known: Labelled, run: Run, few: float, only_kept: bool) -> Scores:
    """Train it, unless that was done, and measure. Every process takes part.

    only_kept: train nothing. A method that collapses, or cannot be built, is no reason to stop the others; that it
    collapsed is kept as scores are.
    """
    options = cell.options
    file = options.train.out / f"scores-{digest([few, len(known.train)])[:8]}.json"
    if only_kept and not file.is_file():
        return Scores(failure="not run yet.")

    def find() -> dict[str, Any]:
        try:
            return _train_and_measure(options, data, known, run, few)
        except (FloatingPointError, Collapsed) as error:
            return {"failure": str(error)}

    try:
        found = kept(run, file, find, everyone=True)
    except ValueError as error:  # its options do not fit: nothing was trained that would have to be kept
        found = {"failure": str(error)}
    if "failure" in found:
        run.say(f"{cell.name}: {found['failure']}")
        return Scores(failure=found["failure"])
    return Scores(found)


def _train_and_measure(options: Config, data: ImageSet, known: Labelled, run: Run, few: float) -> dict[str, float]:
    set_seed(options.train.seed)
    task = build_task(options, data)
    collate = build_collate(options, task, data)
    there = checkpoint.checkpoints(options.train.out / "checkpoints")
    done = checkpoint.read_state(there[0])["step"] if there else 0
    cpu, wall = time.process_time(), time.perf_counter()
    task = fit(task, data.train, collate, options.train, identity=made_by(options, data))
    steps = options.train.steps - done
    taken = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
    found = score(task.export().eval(), known, options, few) if run.main else {}
    return found | ({name: value / steps for name, value in taken.items()} if steps else {})


def score(encoder: PreTrainedModel, known: Labelled, options: Config, few: float) -> dict[str, float]:
    """kNN, linear probe, and linear probe from few labels, of frozen features of the last layer."""
    processor = build_image_processor(options.model)
    train, test = (last_layer(encoder, rows, processor) for rows in (known.train, known.test))
    return classify(train, test, known) | {"few": from_few(train, test, known, few)}


def from_few(train: NDArray[Any], test: NDArray[Any], known: Labelled, share: float) -> float:
    """Accuracy of a linear probe from a share of the labels of each class, the mean of several draws."""
    draws = [draw_per_class(known.train_labels, share, seed) for seed in range(_DRAWS)]
    return fmean(linear_probe(train[d], known.train_labels[d], test, known.labels)["accuracy"] for d in draws)


def kept(run: Run, file: Path, find: Callable[[], Any], everyone: bool = False) -> Any:
    """What `find` gave when it was first asked; `everyone`: every process must take part in finding it."""
    found = broadcast_object_list([json.loads(file.read_text()) if run.main and file.is_file() else None])[0]
    if found is None and (everyone or run.main):
        found = find()
        if run.main:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(found, indent=2) + "\n")
            os.replace(partial, file)  # a kill leaves all of it or nothing
    return broadcast_object_list([found])[0]
