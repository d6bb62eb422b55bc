"""Joint-embedding methods that see labels: their own classifier beside one that sees the same labels and no more."""

import torch

from evaluation.report import Row
from modalities.pictures.batches import pixel_batches
from modalities.pictures.rows import ImageSet
from modalities.vision.backbones import build_image_processor
from modalities.vision.joint.s4l import S4L
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.uda import UDA
from recipes.joint_build import seen
from recipes.joint_tasks import Config
from recipes.run import Run
from recipes.vision_labels import learn_labels
from recipes.vision_measure import Labelled
from recipes.vision_run import Encoders, Found


def few_seen(
    found: Found, task: JointTask, encoders: Encoders, known: Labelled, data: ImageSet, config: Config, run: Run
) -> None:
    """Add the accuracy of the method's own classifier, where it has one, and of an encoder that was trained on the same
    labels alone. Every process takes part."""
    if not isinstance(task, S4L | UDA):
        return
    share: float = config.task.labels  # type: ignore[attr-defined]
    found.metrics["few"] = own_accuracy(task, known, config)
    if config.eval.supervised_epochs and len(seen(config, known)) >= run.accelerator.num_processes:
        alone = learn_labels(encoders.unlearnt, "supervised", known, data, config, run.accelerator, share)
        found.after.append(Row("supervised, the same few labels", {"few": alone.scores["tuned"]}))


@torch.inference_mode()
def own_accuracy(task: S4L | UDA, known: Labelled, config: Config) -> float:
    """Share of held-out images that its classifier names rightly."""
    device = next(task.parameters()).device
    pixels = pixel_batches(known.test, build_image_processor(config.model))
    guesses = torch.cat([task.logits(some.to(device)).argmax(1).cpu() for some in pixels])
    return float((guesses.numpy() == known.labels).mean())


def trained_with(config: Config, task: JointTask, known: Labelled | None) -> str:
    """What the method had of the labels, in words."""
    return f"with {len(seen(config, known)):,} labels" if task.labelled else "without labels"


def note_on_labels(config: Config, task: JointTask, known: Labelled | None) -> str:
    """A sentence for those that had some."""
    if not task.labelled:
        return ""
    count, of = len(seen(config, known)), len(known.train) if known else 0
    return f" The method saw the labels of {count:,} of {of:,} training images, which the random encoders did not."
