"""What recipes for pictures do around their methods: begin, train on labels, measure frozen features, save."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from accelerate import Accelerator
from transformers import PreTrainedModel

from evaluation.report import Row
from modalities.pictures.batches import pixel_batches
from modalities.pictures.rows import ImageSet
from modalities.vision.backbones import build_image_processor
from modalities.vision.published import as_auto_model
from modalities.vision.sources import load
from modalities.vision.task import VisionTask
from recipes.run import Run
from recipes.vision_baselines import before_training, classic
from recipes.vision_config import VisionConfig
from recipes.vision_labels import Curves, few_labels, learn_labels
from recipes.vision_measure import Labelled, labelled, measure, why_unlabelled
from trainers.hub.check import write_check


class PublishedConfig(VisionConfig, Protocol):
    """The same with a repository to push to."""

    @property
    def publish(self) -> str:
        """On the Hub, or nothing."""
        ...


def begin(config: PublishedConfig) -> tuple[Run, ImageSet, Labelled | None]:
    """The run, its data, and the labelled part of it where there is one.

    Raises:
        ValueError: for whatever cannot work, and where no image is held out.
    """
    run = Run.begin(config, config.publish)
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}")
    if len(data.test) == 0:
        raise ValueError(f"{data.name} has no held-out images to measure on; raise data.held_out.")
    known = labelled(data, config.eval)
    if known is None:
        run.say(why_unlabelled(data))
    return run, data, known


@dataclass(frozen=True)
class Encoders:
    """Three states of one encoder."""

    unlearnt: PreTrainedModel
    """With new weights."""
    start: PreTrainedModel
    """As the run began: the same, unless it began from a checkpoint."""
    trained: PreTrainedModel


def at_start(
    config: VisionConfig, task: VisionTask, new: Callable[[], VisionTask], accelerator: Accelerator
) -> Encoders:
    """Copies of what `task` publishes before it is trained; `trained` is what it will have become. new: builds the task
    with new weights."""
    start = copy.deepcopy(task.export()).to(accelerator.device).eval()
    unlearnt = new().export().to(accelerator.device).eval() if config.model.start_from else start
    return Encoders(unlearnt, start, task.export())


@dataclass
class Found:
    """What was measured of a run and of what it is compared with."""

    metrics: dict[str, float]
    """Of the run itself."""
    before: list[Row] = field(default_factory=list)
    """What it has to beat, in the table above it."""
    after: list[Row] = field(default_factory=list)
    """What had the labels, below it."""
    curves: Curves = field(default_factory=dict)
    best: dict[str, str] = field(default_factory=dict)
    """{row: name of the layer that was chosen}"""
    supervised: PreTrainedModel | None = None

    @property
    def rows(self) -> list[Row]:
        """Of the table."""
        return [*self.before, Row("this run", dict(self.metrics)), *self.after]


def with_labels(
    found: Found,
    encoders: Encoders,
    known: Labelled,
    data: ImageSet,
    config: VisionConfig,
    run: Run,
    saw_labels: bool = False,
) -> None:
    """Add what labels bring: the bound, fine-tuning, and both by number of labels. Every process takes part.

    saw_labels: the method had labels itself, so nothing of it is told by how few there are.
    """
    accelerator = run.accelerator
    if len(known.train) < accelerator.num_processes:
        return
    if config.eval.supervised_epochs:
        bound, found.supervised = learn_labels(encoders.unlearnt, "supervised", known, data, config, accelerator)
        found.after.append(Row("supervised", dict(bound)))
        found.metrics |= learn_labels(encoders.trained, "fine-tuned", known, data, config, accelerator).scores
    if config.eval.fractions:
        found.curves = few_labels(
            encoders.unlearnt, None if saw_labels else encoders.trained, known, data, config, accelerator
        )


def frozen(
    found: Found,
    encoders: Encoders,
    untrained: Mapping[str, Callable[[], PreTrainedModel]],
    known: Labelled,
    config: VisionConfig,
    run: Run,
) -> None:
    """Add kNN and probes of the run, of random initialisations, {name: what draws one}, and of classic features."""
    processor, seeds = build_image_processor(config.model), config.eval.seeds
    scores, found.best["this run"] = measure(encoders.trained, known, processor)
    found.metrics |= scores
    if config.model.start_from:
        given, found.best["before training"] = measure(encoders.start, known, processor)
        found.before.append(Row("before training", dict(given)))
    drawn, layer = before_training(untrained, known, processor, seeds, run.accelerator.device)
    found.best |= layer
    found.before += drawn + (classic(known) if config.eval.classic else [])


def save(task: VisionTask, data: ImageSet, config: VisionConfig, run: Run) -> None:
    """Write the stock model, its image processor, and what a reload of both is checked by."""
    processor = build_image_processor(config.model)
    task.save(run.out / "model")
    processor.save_pretrained(run.out / "model")
    inputs = {"pixel_values": next(pixel_batches(data.test.select(range(min(8, len(data.test)))), processor))}
    classes = {"model": "AutoModel", "processor": "AutoImageProcessor"}
    write_check(run.out, as_auto_model(task.export()), inputs, classes)
