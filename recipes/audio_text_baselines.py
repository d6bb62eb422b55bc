"""What an audio-text run has to beat: itself before training, a classic feature, and the supervised bound."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import Tensor
from transformers import ClapProcessor

from evaluation.accuracy import accuracies
from evaluation.classic import TextFeatures
from evaluation.joined_spaces import JoinedSpaces
from evaluation.report import Row
from evaluation.zero_shot import class_vectors, zero_shot
from modalities.audio.audio_text import AudioText
from modalities.audio.audio_text_collate import SoundTextCollate
from modalities.audio.audio_text_towers import ModelConfig, build_towers
from modalities.audio.features import HOP, clip_statistics, frame_count, mfcc, with_deltas
from modalities.audio.rows import AudioSet, Rows
from modalities.supervised import Supervised
from recipes.audio_features import Describer, describe
from recipes.audio_text_measure import (
    EvalConfig,
    Floats,
    asked,
    classify,
    labelled,
    measure,
    probe_rows,
    retrieval,
)
from trainers.config import TrainConfig
from trainers.loop import fit

_COEFFICIENTS = 20


def before_training(
    data: AudioSet,
    processor: ClapProcessor,
    collate: SoundTextCollate,
    model: ModelConfig,
    cfg: EvalConfig,
    device: torch.device,
) -> list[Row]:
    """The model as it starts: over several random initialisations, or the one checkpoint it continues from."""
    scores = []
    for seed in range(min(cfg.seeds, 1) if model.clap_from else cfg.seeds):
        set_seed(1000 + seed)
        start = AudioText(build_towers(model, processor), processor).to(device).eval()
        scores.append(measure(start, collate, data, cfg))
    if not scores:
        return []
    name = "starting checkpoint" if model.clap_from else "random initialisation"
    return [Row(name, {key: [each[key] for each in scores] for key in scores[0]})]


def classic(data: AudioSet, cfg: EvalConfig) -> list[Row]:
    """Mean and deviation of mel-frequency cepstral coefficients and their slopes, joined to TF-IDF by canonical
    correlation, fitted on training recordings."""
    if not cfg.classic or not isinstance(data.train, Rows):
        return []
    train = data.train.select(range(min(len(data.train), cfg.rows)))
    (audio, train), (test_audio, test) = statistics(train, data.rate), statistics(data.test, data.rate)
    if len(train) < 10:
        return []
    middle, scale = audio.mean(0), audio.std(0) + 1e-6
    audio, test_audio = (audio - middle) / scale, (test_audio - middle) / scale
    texts = [text for each in train.texts for text in each]
    spoken = np.repeat(np.arange(len(train)), [len(each) for each in train.texts])  # the recording of each text
    words = TextFeatures().fit(texts)
    joint = JoinedSpaces().fit(audio[spoken], words(texts), spoken)
    scores = retrieval(joint.image(test_audio), joint.text(words(asked(test)[1])), test)
    judged, known = _has_label(test), _has_label(train)
    if data.classes and judged.any() and known.any():
        labels, of = _labels(test)[judged], test_audio[judged]
        prompts = class_vectors(lambda some: joint.text(words(_lower(some))), data.classes, cfg.prompts.split("|"))
        scores["zero_shot"] = zero_shot(joint.image(of), prompts, labels)["accuracy"]
        scores |= classify(audio[known], _labels(train)[known], of, labels)
    return [Row("MFCC and TF-IDF, CCA", dict(scores))]


def statistics(rows: Rows, rate: int) -> tuple[Floats, Rows]:
    """The classic feature of every recording that can be decoded, and those recordings."""

    def moving(audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"MFCC": with_deltas(mfcc(audio, rate, _COEFFICIENTS), frame_count(lengths, rate))}

    how = Describer(moving, lambda lengths: frame_count(lengths, rate), HOP, rate, clip_statistics)
    found = describe(how, rows, 0)
    return found.clips["MFCC"], rows.select(found.kept)


def supervised(
    data: AudioSet,
    task: AudioText,
    collate: SoundTextCollate,
    model: ModelConfig,
    train: TrainConfig,
    cfg: EvalConfig,
    processes: int,
) -> list[Row]:
    """A fresh audio tower trained on the labels, with the same views; every process takes part."""
    rows, test = probe_rows(data, cfg), labelled(data.test)
    if not cfg.supervised_epochs or not len(test) or rows is None or len(rows) < processes:
        return []
    set_seed(train.seed)
    tower = build_towers(model, task.processor).audio_model
    classifier = Supervised(tower, tower.config.hidden_size, len(data.classes))

    def heard(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"input_features": task.features({name: each.cpu() for name, each in batch.items()})}

    def judged(rows: list[Any], seeds: Any) -> dict[str, Tensor]:
        batch, rows = collate.window.with_rows(rows, seeds)
        return heard(batch) | {"labels": torch.tensor([row["label"] for row in rows])}

    options = replace(
        train,
        out=train.out / "supervised",
        batch_size=min(train.batch_size, len(rows) // processes * processes),
        epochs=cfg.supervised_epochs,
        steps=0,
        evaluate_every=0,
        micro_batch=0,
    )
    made_by = {"model": asdict(model), "augment": asdict(task.views), "data": data.fingerprint}
    classifier = fit(classifier, rows, judged, options, identity=made_by)
    with torch.inference_mode():
        batch = heard(collate.window([test[i] for i in range(len(test))]))
        guesses = classifier.logits({name: each.to(tower.device) for name, each in batch.items()}).argmax(1)
    correct = guesses.cpu().numpy() == np.array(test.labels)
    return [Row("supervised audio tower", {"probe": accuracies(correct, np.array(test.labels))["accuracy"]})]


def _has_label(rows: Rows) -> NDArray[np.bool_]:
    return np.array([label is not None for label in rows.labels])


def _labels(rows: Rows) -> NDArray[np.int64]:
    return np.array([-1 if label is None else label for label in rows.labels])


def _lower(texts: list[str]) -> list[str]:
    return [text.lower() for text in texts]
