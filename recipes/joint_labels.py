"""Joint-embedding methods that see labels: their own classifier beside one that sees the same labels and no more."""

import torch

from evaluation.report import Row
from modalities.pictures.batches import pixel_batches, readable
from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.backbones import build_image_processor
from modalities.vision.joint.s4l import S4L, S4LConfig
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.uda import UDA, UDAConfig
from recipes.joint_build import seen, sees_labels, steps_of
from recipes.joint_tasks import Config
from recipes.run import Run
from recipes.vision_labels import learn_labels, steps_on
from recipes.vision_measure import Labelled
from recipes.vision_run import Encoders, Found


def few_seen(
    found: Found, task: JointTask, encoders: Encoders, known: Labelled, data: ImageSet, config: Config, run: Run
) -> None:
    """Add the accuracy of the method's own classifier, where it has one, and of an encoder that was trained on the same
    labels alone for as many steps. Every process takes part."""
    if not isinstance(task, S4L | UDA):
        return
    found.metrics["few"] = own_accuracy(task, known, config)
    rows = readable(seen(config, data))
    if config.eval.supervised_epochs and len(rows) >= run.accelerator.num_processes:
        steps = steps_of(config, data)
        alone = learn_labels(encoders.unlearnt, "supervised", known, data, config, run.accelerator, rows, steps)
        found.after.append(Row("supervised, the same few labels", {"few": alone.scores["tuned"]}))


@torch.inference_mode()
def own_accuracy(task: S4L | UDA, known: Labelled, config: Config) -> float:
    """Share of held-out images that its classifier names rightly."""
    device = next(task.parameters()).device
    pixels = pixel_batches(known.test, build_image_processor(config.model))
    guesses = torch.cat([task.logits(some.to(device)).argmax(1).cpu() for some in pixels])
    return float((guesses.numpy() == known.labels).mean())


def trained_with(config: Config, data: ImageSet) -> str:
    """What the method had of the labels, in words."""
    return f"with {len(seen(config, data)):,} labels" if sees_labels(config) else "without labels"


def note_on_labels(config: Config, data: ImageSet, known: Labelled | None, processes: int) -> str:
    """Sentences on what the method had of the labels, and on what was trained on labels to compare with."""
    words = ""
    if sees_labels(config):
        assert isinstance(data.train, Rows), "`seen` refuses streams"
        words = (
            f" The method saw the labels of {len(seen(config, data)):,} of {len(data.train):,} training images, which "
            "the random encoders did not."
        )
        words += " Curves by number of labels leave it out for that." if config.eval.fractions else ""
    if known and config.eval.supervised_epochs:
        steps = steps_on(known, config.eval.supervised_epochs, processes)
        words += f" All trained on labels: {steps:,} steps on those of {len(known.train):,} images"
        alone = isinstance(config.task, S4LConfig | UDAConfig)
        words += f", on the few that the method saw {steps_of(config, data):,}." if alone else "."
    return words
