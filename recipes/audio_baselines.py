"""What an audio run has to beat: itself before training, and what speech recognition read before representations were
learnt; and, to compare with, the same architecture trained on the labels for a while."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from evaluation.accuracy import accuracies
from evaluation.report import Row
from modalities.audio.collate import WindowCollate
from modalities.audio.features import HOP, clip_statistics, frame_count, mfcc, with_deltas
from modalities.audio.rows import AudioSet, Rows
from modalities.audio.supervised import ClipClassifier, ClipCollate, PhoneClassifier, PhoneCollate
from modalities.audio.task import AudioTask
from recipes.audio_features import Describer, describe, of_task
from recipes.audio_measure import Known, answers, measure
from recipes.audio_tasks import Config, identity, with_new_weights
from trainers.folder import digest
from trainers.loop import fit

_COEFFICIENTS = 13


def before_training(
    config: Config, data: AudioSet, known: Known, device: torch.device
) -> tuple[list[Row], dict[str, dict[str, str]]]:
    """Encoders over several random initialisations, and the best layers of the first."""
    scores, best = [], {}
    for seed in range(config.eval.seeds):
        set_seed(1000 + seed)
        task = with_new_weights(config, data).to(device).eval()
        found, layers = measure(of_task(task), known)
        scores.append(found)
        best.setdefault("random initialisation", layers)
    if not scores:
        return [], {}
    return [Row("random initialisation", {key: [each[key] for each in scores] for key in scores[0]})], best


def classic(known: Known, rate: int) -> list[Row]:
    """13 mel-frequency cepstral coefficients of each frame, and with their slopes and the slopes of these."""

    def count(lengths: Tensor) -> Tensor:
        return frame_count(lengths, rate)

    def static(audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"MFCC": mfcc(audio, rate, _COEFFICIENTS)}

    def moving(audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"MFCC": with_deltas(mfcc(audio, rate, _COEFFICIENTS), count(lengths))}

    rows = []
    for name, layers in (("MFCC, 13", static), ("MFCC with deltas, 39", moving)):
        found, _ = measure(Describer(layers, count, HOP, rate, clip_statistics), known)
        rows.append(Row(name, {key: value for key, value in found.items() if "/" not in key}))
    return rows


def supervised(
    config: Config, known: Known, data: AudioSet, collate: WindowCollate, accelerator: Accelerator
) -> list[Row]:
    """The same architecture with new weights, trained on the labels of all training recordings, once for each of phones
    and speakers, classes or languages; every process takes part. It is judged on what probes are judged on. Each run's
    folder is named by what made it, so that other options of measuring begin another one."""
    scores: dict[str, float | list[float]] = {}
    for target in known.targets:
        if target == "voice":  # of a single frame; a network that is trained for it reads more than one
            continue
        set_seed(config.train.seed)
        task, judged = _classifier(target, with_new_weights(config, data), known, data, collate)
        made_by = {**identity(config, data), "target": target, "classes": task.head.out_features}
        options = replace(
            config.train, steps=config.eval.supervised_steps, evaluate_every=0, micro_batch=0, resume="auto"
        )
        name = f"{target}-{digest([options.identity(), made_by])[:8]}"
        options = replace(options, out=config.train.out / "supervised" / name)
        task = fit(task, _told(target, data.train), judged, options, identity=made_by)
        scores |= _asked(task, target, known, data)
    return [Row(f"supervised, {config.eval.supervised_steps} steps", scores)] if scores else []


def _classifier(
    target: str, encoder: AudioTask, known: Known, data: AudioSet, collate: WindowCollate
) -> tuple[PhoneClassifier, Any]:
    """The task that is trained, and what makes its batches. One stretch of each recording, however many the method
    compares."""
    collate = WindowCollate(collate.samples, collate.rate)
    if target == "phone":
        phones = phones_of(known)
        return PhoneClassifier(encoder, len(phones)), PhoneCollate(collate, encoder.hop, phones)
    if target == "speaker":
        return ClipClassifier(encoder, len(data.speakers)), ClipCollate(collate, "speaker")
    return ClipClassifier(encoder, len(data.classes)), ClipCollate(collate, "label")


def _told(target: str, rows: Rows) -> Rows:
    """The rows whose answer is known."""
    if target == "phone":
        return rows.select([place for place, phones in enumerate(rows.phones) if phones is not None])
    return rows.select(np.flatnonzero(answers(target, rows) >= 0))


def phones_of(known: Known) -> list[str]:
    """The phones of the training recordings that probes read."""
    return sorted({name for phones in known.train.phones if phones is not None for name in phones.names})


def _asked(task: PhoneClassifier, target: str, known: Known, data: AudioSet) -> dict[str, float]:
    """Accuracy on the held-out frames or recordings that probes are asked about."""
    how = of_task(task)

    def scores(audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        found = task.scores(audio, lengths)
        return {"scores": found if target == "phone" else found[:, None]}

    if target == "phone":
        of = describe(replace(how, layers=scores), known.test, known.frames // 2)
        guesses = np.array(phones_of(known))[of.frames["scores"].argmax(1)]
        return {target: accuracies(guesses == of.phones, of.phones)["accuracy"]}
    of = describe(replace(how, layers=scores, frames=torch.ones_like), known.test, 0)
    wanted = answers(target, known.test)[of.kept]
    right, told = of.clips["scores"].argmax(1) == wanted, wanted >= 0
    found = accuracies(right[told], wanted[told])
    return {target: found["accuracy"], f"{target}_balanced": found["balanced_accuracy"]}
