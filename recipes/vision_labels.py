"""Training on labels: the supervised bound, fine-tuning, and both against the number of labels."""

import copy
import hashlib
from dataclasses import replace
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from transformers import PreTrainedModel

from evaluation.accuracy import accuracies
from evaluation.few_labels import draw_per_class
from evaluation.probe import linear_probe
from evaluation.report import Column, Row
from modalities.pictures.batches import pixel_batches
from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.backbones import build_image_processor
from modalities.vision.collate import ImageCollate
from modalities.vision.supervised import Classifier
from modalities.vision.views.pipeline import ViewConfig
from recipes.vision_config import VisionConfig, identity
from recipes.vision_measure import Labelled, last_layer
from trainers.folder import digest
from trainers.loop import fit

Curves = dict[str, dict[int, list[float]]]
_BATCH = 128
_DRAWS = 3  # of few labels, for the probes; fine-tuning takes the first


class Learnt(NamedTuple):
    """What training on labels brings."""

    scores: dict[str, float]
    encoder: PreTrainedModel


def learn_labels(
    encoder: PreTrainedModel,
    name: str,
    known: Labelled,
    data: ImageSet,
    config: VisionConfig,
    accelerator: Accelerator,
    rows: Rows | None = None,
    steps: int = 0,
) -> Learnt:
    """Train a copy of `encoder` on labels, and judge it on held-out images; every process takes part.

    Its checkpoints lie in a folder of their own for each start and setting, so that no run goes on from another's.

    Args:
        rows: what to train on instead of all of `known.train`.
        steps: how long, instead of `eval.supervised_epochs` over all of `known.train`, however few the rows are.
    """
    rows = known.train if rows is None else rows
    collate = ImageCollate(config.data.side, config.data.max_bad, labels=True)
    processes = accelerator.num_processes
    options = replace(
        config.train,
        batch_size=batch_of(len(rows), processes),
        steps=steps or steps_on(known, config.eval.supervised_epochs, processes),
        evaluate_every=0,
        micro_batch=0,
        resume="auto",
    )
    made_by = {
        **identity(config, data),
        "rows": digest(rows.ids.tolist()),
        "starts_from": broadcast_object_list([fingerprint(encoder)])[0],
    }
    key = digest([options.identity(), made_by])[:8]
    options = replace(options, out=config.train.out / name / f"{len(rows)}-{key}")
    set_seed(config.train.seed)
    task = Classifier(copy.deepcopy(encoder), ViewConfig(side=config.model.image_size), data.classes)
    task = fit(task, rows, collate, options, identity=made_by)
    with torch.inference_mode():
        pixels = pixel_batches(known.test, build_image_processor(config.model))
        guesses = torch.cat([task.logits(some.to(accelerator.device)).argmax(1).cpu() for some in pixels])
    found = accuracies(guesses.numpy() == known.labels, known.labels)
    return Learnt({"tuned": found["accuracy"], "tuned_balanced": found["balanced_accuracy"]}, task.encoder)


def steps_on(known: Labelled, epochs: float, processes: int) -> int:
    """How many steps so many epochs over all labelled training images take, at least one."""
    return max(1, round(epochs * (len(known.train) / batch_of(len(known.train), processes))))


def batch_of(rows: int, processes: int) -> int:
    """Rows of a global batch, which every process has an equal share of; there must be one for each."""
    return max(1, min(_BATCH, rows) // processes) * processes


def fingerprint(encoder: PreTrainedModel) -> str:
    """Hash of all weights and buffers."""
    found = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()[:32]


def few_labels(
    start: PreTrainedModel,
    trained: PreTrainedModel | None,
    known: Labelled,
    data: ImageSet,
    config: VisionConfig,
    accelerator: Accelerator,
) -> Curves:
    """Accuracy by number of labels, of encoders trained on them and of probes of frozen ones; every process takes part.

    start: an encoder that has learnt nothing; trained: after pretraining, None where that saw labels itself.
    """
    processor = build_image_processor(config.model)
    encoders = {"pretrained": trained, "at random": start} if trained else {"at random": start}
    frozen = {
        f"frozen, {name}": [last_layer(encoder, rows, processor) for rows in (known.train, known.test)]
        for name, encoder in encoders.items()
    }
    tuned = {"fine-tuned": trained, "supervised": start} if trained else {"supervised": start}
    curves: Curves = {name: {} for name in (*tuned, *frozen)}
    for share in config.eval.shares:
        draws = [draw_per_class(known.train_labels, share, seed) for seed in range(_DRAWS if share < 1 else 1)]
        count = len(draws[0])
        if config.eval.supervised_epochs and count >= accelerator.num_processes:
            rows = known.train.select(draws[0])
            for name, encoder in tuned.items():
                found = learn_labels(encoder, name, known, data, config, accelerator, rows)
                curves[name][count] = [found.scores["tuned"]]
        for name, (train, test) in frozen.items():
            scores = [linear_probe(train[d], known.train_labels[d], test, known.labels)["accuracy"] for d in draws]
            curves[name][count] = scores
    return {name: curve for name, curve in curves.items() if curve}


def as_table(curves: Curves) -> tuple[list[Row], list[Column]]:
    """The curves as rows with a column for each number of labels."""
    rows = [Row(name, {str(count): list(scores) for count, scores in curve.items()}) for name, curve in curves.items()]
    counts = sorted({count for curve in curves.values() for count in curve})
    return rows, [Column(str(count), f"{count:,} labels") for count in counts]
