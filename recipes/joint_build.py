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
from recipes.vision_build import forget
from recipes.vision_measure import Labelled, evenly


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
    if task.indexed and "rows" not in known:
        raise ValueError(f"{name_of(config)} has to know which image is which, and a stream does not say.")
    return task


def build_collate(config: Config, task: JointTask, data: ImageSet, known: Labelled | None) -> Any:
    """What makes training batches of rows, with each image's place or with labels where the method asks for them.

    Raises:
        ValueError: where it asks for labels and there are none.
    """
    collate = ImageCollate(config.data.side, config.data.max_bad)
    if task.labelled:
        return FewLabels(collate, seen(config, known), getattr(config.task, "labelled_share", 0.0))
    if task.indexed:
        assert isinstance(data.train, Rows), "build_task refuses streams"
        return Indexed(collate, data.train.ids.tolist())
    return collate


def seen(config: Config, known: Labelled | None) -> Rows:
    """The training images whose labels the method sees: a share of each class, or all of them."""
    if known is None:
        raise ValueError(f"{name_of(config)} learns from labels, and there are none: see data.label_column.")
    share: float = getattr(config.task, "labels", 1.0)
    return known.train.select(draw_per_class(known.train_labels, share))


def asked(config: Config, task: JointTask, data: ImageSet, known: Labelled | None) -> tuple[Any, Rows, str]:
    """Images that the method's own loss is measured on, how batches of them are made, and which they are in words:
    held-out ones, save of a method that remembers every image and knows no others."""
    collate = ImageCollate(config.data.side, config.data.max_bad)
    if task.indexed:
        assert isinstance(data.train, Rows), "build_task refuses streams"
        return Indexed(collate, data.train.ids.tolist()), evenly(data.train, len(data.test)), "training images"
    if task.labelled:
        assert known is not None, "build_collate refuses data without labels"
        return FewLabels(collate, known.test), known.test, "held-out images"
    return collate, data.test, "held-out images"


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
    task = build_task(config, data)
    if config.model.start_from:
        forget(task.export())
    return task


def views_in_words(config: Config) -> str:
    """2 x 64 + 4 x 32 pixels."""
    views = config.views
    small = f" + {views.small_count} x {views.small.side}" if views.small_count else ""
    return f"2 x {views.first.side}{small}"


def effort(config: Config, task: JointTask, rows: int, processes: int) -> str:
    """What a step is made of, in words. rows: training images, 0 where it is not known."""
    batch = config.train.batch_size
    share = f", {batch // processes} on each of {processes} processes" if processes > 1 else ""
    views = config.views
    count = batch * (2 + views.small_count)
    negatives = task.negatives(batch)
    against = f"{negatives:,} negatives for each query" if negatives else "no negatives"
    words = [
        f"A step takes {batch} images{share}, {count:,} views of {views_in_words(config)} pixels a side, and {against}."
    ]
    for name, part in task.named_modules():
        if isinstance(part, Queue):
            words.append(f"The {name} holds {len(part.rows):,} embeddings of earlier steps.")
            if rows and len(part.rows) > rows:
                words.append(f"These are more than the {rows:,} training images, so it holds some of them twice.")
    return " ".join(words)


def name_of(config: Config) -> str:
    """The method in a word, for messages."""
    return METHODS[type(config.task)].__name__
