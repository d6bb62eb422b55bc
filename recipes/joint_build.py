"""From options and data to a joint-embedding method and its batches, and what there is to say of both."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from transformers import PreTrainedModel

from evaluation.few_labels import draw_per_class
from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.backbones import build_encoder
from modalities.vision.collate import ImageCollate
from modalities.vision.indexed import Indexed
from modalities.vision.joint.cmc import CMCConfig
from modalities.vision.joint.few_labels import FewLabels
from modalities.vision.joint.queue import Queue
from modalities.vision.joint.task import JointTask
from recipes.joint_tasks import METHODS, Config
from recipes.vision_build import unlearnt
from recipes.vision_config import identity
from recipes.vision_measure import evenly, why_unlabelled, with_label
from trainers.folder import digest


def build_task(config: Config, data: ImageSet) -> JointTask:
    """The method, its weights drawn from torch's global generator.

    Raises:
        ValueError: for options that do not fit each other or the data.
    """
    known: dict[str, int] = {"classes": len(data.classes)}
    if isinstance(data.train, Rows):
        known["rows"] = len(data.train)
    options: Any = config.task
    for field in fields(options):
        if field.name == "rows" and "rows" not in known:
            raise ValueError(f"{name_of(config)} remembers every training image, and a stream does not say how many.")
        if field.name in known:
            given, right = getattr(options, field.name), known[field.name]
            if given not in (0, right):
                raise ValueError(f"task.{field.name} is {given}, but the data have {right}: leave it 0.")
            options = replace(options, **{field.name: right})
    task = METHODS[type(options)](config.model, config.views, options)
    task.require(config.train.batch_size, steps_of(config, data))
    return task


def steps_of(config: Config, data: ImageSet) -> int:
    """Updates of the whole run; 0 of a stream by epochs, which `fit` refuses."""
    train = config.train
    if train.steps or not isinstance(data.train, Rows):
        return train.steps
    return max(1, round(train.epochs * (len(data.train) // train.batch_size)))


def build_collate(config: Config, task: JointTask, data: ImageSet) -> Any:
    """What makes training batches of rows, with each image's index or with labels where the method asks for them.

    Raises:
        ValueError: where it asks for labels and there are none of two classes.
    """
    collate = ImageCollate(config.data.side, config.data.max_bad)
    if task.labelled:
        return FewLabels(collate, seen(config, data), getattr(config.task, "labelled_share", 0.0))
    if not task.indexed:
        return collate
    if not remembers(config):
        return Indexed(collate)
    assert isinstance(data.train, Rows), "build_task refuses streams"
    return Indexed(collate, data.train.ids.tolist())


def remembers(config: Config) -> bool:
    """Whether the method keeps something of every training image, and so knows no others."""
    return hasattr(config.task, "rows")


def sees_labels(config: Config) -> bool:
    """Whether the method learns from labels, of all images or of few."""
    return bool(getattr(METHODS[type(config.task)], "labelled", False))


def seen(config: Config, data: ImageSet) -> Rows:
    """The training images whose labels the method sees: a share of each class, or all of them. How features are
    measured (`eval.rows`) has no say.

    Raises:
        ValueError: where there are no labels of two classes.
    """
    rows = with_label(data.train) if isinstance(data.train, Rows) else None
    if rows is None or len(set(rows.labels)) < 2:
        raise ValueError(f"{name_of(config)} learns from labels. {why_unlabelled(data)}")
    return rows.select(draw_per_class(rows.labels, getattr(config.task, "labels", 1.0)))


def made_by(config: Config, data: ImageSet) -> dict[str, Any]:
    """What decides the weights besides the training options: whose labels the method sees, too."""
    labels = {"labels": digest(seen(config, data).ids.tolist())} if sees_labels(config) else {}
    return identity(config, data) | labels


def asked(config: Config, task: JointTask, data: ImageSet) -> tuple[Any, Rows, str]:
    """Images that the method's own loss is measured on, how batches of them are made, and which they are in words:
    held-out ones, save of a method that remembers every image and knows no others."""
    collate = ImageCollate(config.data.side, config.data.max_bad)
    if remembers(config):
        assert isinstance(data.train, Rows), "build_task refuses streams"
        return build_collate(config, task, data), evenly(data.train, len(data.test)), "training images"
    if task.labelled:
        known = with_label(data.test)
        return FewLabels(collate, known), known, "held-out images"
    return build_collate(config, task, data), data.test, "held-out images"


def untrained(config: Config, data: ImageSet) -> dict[str, Callable[[], PreTrainedModel]]:
    """What the method has to beat, by name: what it would publish with new weights, drawn anew by each call; and where
    that is not a plain encoder (two halves), the plain one too."""
    found: dict[str, Callable[[], PreTrainedModel]] = {
        "random initialisation": lambda: with_new_weights(config, data).export()
    }
    if isinstance(config.task, CMCConfig):  # it starts from no checkpoint
        found["plain encoder at random"] = lambda: build_encoder(config.model)
    return found


def with_new_weights(config: Config, data: ImageSet) -> JointTask:
    """The method as it is built, without what its encoder has learnt where `model.start_from` names a checkpoint."""
    return unlearnt(build_task(config, data), config.model)


def effort(config: Config, task: JointTask, rows: int, processes: int) -> str:
    """What a step is made of, in words. rows: training images, 0 where it is not known."""
    batch = config.train.batch_size
    share = f", {batch // processes} on each of {processes} processes" if processes > 1 else ""
    negatives = task.negatives(batch)
    against = f"{negatives:,} negatives for each query" if negatives else "no negatives"
    words = [f"A step takes {batch} images{share}, {task.views_in_words(batch)}, and {against}."]
    for name, part in task.named_modules():
        if isinstance(part, Queue):
            words.append(f"The {name} holds {len(part.rows):,} embeddings of earlier steps.")
            if rows and len(part.rows) > rows:
                words.append(f"These are more than the {rows:,} training images, so it holds some of them twice.")
    return " ".join(words)


def name_of(config: Config) -> str:
    """The method in a word, for messages."""
    return METHODS[type(config.task)].__name__
