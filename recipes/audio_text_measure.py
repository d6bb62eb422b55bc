"""What an audio-text run is judged by: retrieval both ways, zero-shot classification, kNN and a linear probe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from evaluation.knn import knn
from evaluation.probe import linear_probe
from evaluation.report import Column
from evaluation.retrieval import retrieve_both
from evaluation.zero_shot import class_vectors, zero_shot
from modalities.audio.audio_text import AudioText
from modalities.audio.audio_text_collate import SoundTextCollate, description_id
from modalities.audio.rows import AudioSet, Rows
from modalities.task import Batch

COLUMNS = [
    Column("text_to_audio_r1", "text→audio R@1"),
    Column("text_to_audio_r5", "text→audio R@5"),
    Column("audio_to_text_r1", "audio→text R@1"),
    Column("audio_to_text_r5", "audio→text R@5"),
    Column("zero_shot", "zero-shot"),
    Column("knn", "kNN"),
    Column("probe", "linear probe"),
]
_NEIGHBOURS = 5  # there are three or four training recordings of a class
_AT_ONCE = 64
_SAMPLED = 10_000  # descriptions of a stream that the tokenizer is trained on
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EvalConfig:
    """How the trained model and what it is compared with are measured."""

    prompts: str = "{}"
    """Templates of zero-shot prompts, separated by |; {} stands for the name of the class."""
    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    classic: bool = True
    """Compare with statistics of mel-frequency cepstral coefficients (MFCC) joined to TF-IDF by canonical
    correlation."""
    supervised_epochs: float = 60.0
    """Train the audio tower on the labels for this long, as the bound; 0 does not."""
    rows: int = 10_000
    """Training recordings that probes and the classic feature use at most, the first ones."""


def described(data: AudioSet) -> list[str]:
    """Every description of the training recordings; of a stream those of the first ones."""
    if isinstance(data.train, Rows):
        return [text for texts in data.train.texts for text in texts]
    return [text for row in data.train.take(_SAMPLED) for text in row["texts"]]


@torch.inference_mode()
def hear(task: AudioText, collate: SoundTextCollate, rows: Rows) -> tuple[Floats, Floats]:
    """Of every recording's middle: its place in the shared space (n, d), and the audio tower's own features (n, w)."""
    shared, pooled = [], []
    for batch in _batches(collate, rows):
        heard = task.features({name: batch[name].to(task.encoder.device) for name in ("audio", "lengths")})
        features = task.encoder.audio_model(heard).pooler_output
        pooled.append(features.float().cpu())
        shared.append(task.encoder.audio_projection(features).float().cpu())
    return torch.cat(shared).numpy(), torch.cat(pooled).numpy()


@torch.inference_mode()
def read(task: AudioText, collate: SoundTextCollate, texts: Sequence[str]) -> Floats:
    """Places of texts in the shared space, (n, d)."""
    found = []
    for start in range(0, len(texts), _AT_ONCE):
        tokens = collate.text(texts[start : start + _AT_ONCE])
        found.append(task.encode({name: tensor.to(task.encoder.device) for name, tensor in tokens.items()})["text"])
    return torch.cat(found).float().cpu().numpy()


def asked(rows: Rows) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
    """The id of every recording's description (n,), the different descriptions, and their ids (m,)."""
    ids = np.array([description_id(texts) for texts in rows.texts])
    keys, first = np.unique(ids, return_index=True)
    return ids, [rows.texts[place][0] for place in first], keys


def retrieval(audio: ArrayLike, text: ArrayLike, rows: Rows) -> dict[str, float]:
    """Recall both ways between the recordings, (n, d), and their different descriptions, (m, d)."""
    ids, _, keys = asked(rows)
    scores = retrieve_both(audio, text, ids, keys)
    return {name.replace("image", "audio"): value for name, value in scores.items()}


def measure_retrieval(task: AudioText, collate: SoundTextCollate, data: AudioSet) -> dict[str, float]:
    """Recall at 1 and 5: cheap enough to watch while training."""
    texts = asked(data.test)[1]
    scores = retrieval(hear(task, collate, data.test)[0], read(task, collate, texts), data.test)
    return {name: value for name, value in scores.items() if not name.endswith("_r10")}


def labelled(rows: Rows) -> Rows:
    """Those with a label."""
    return rows.select([place for place, label in enumerate(rows.labels) if label is not None])


def probe_rows(data: AudioSet, cfg: EvalConfig) -> Rows | None:
    """Labelled training recordings to fit probes on; a stream has none at hand."""
    if not isinstance(data.train, Rows):
        return None
    rows = labelled(data.train.select(range(min(len(data.train), cfg.rows))))
    return rows if len(set(rows.labels)) > 1 else None


def measure(task: AudioText, collate: SoundTextCollate, data: AudioSet, cfg: EvalConfig) -> dict[str, float]:
    """Everything that the data allows: without labels, retrieval alone."""
    shared, _ = hear(task, collate, data.test)
    scores = retrieval(shared, read(task, collate, asked(data.test)[1]), data.test)
    judged = labelled(data.test)
    if not len(judged) or not data.classes:
        return scores
    labels = np.array(judged.labels)
    shared, pooled = hear(task, collate, judged)
    prompts = class_vectors(lambda some: read(task, collate, some), data.classes, cfg.prompts.split("|"))
    guesses = zero_shot(shared, prompts, labels)
    scores |= {"zero_shot": guesses["accuracy"], "zero_shot_balanced": guesses["balanced_accuracy"]}
    if (train := probe_rows(data, cfg)) is not None:
        scores |= classify(hear(task, collate, train)[1], np.array(train.labels), pooled, labels)
    return scores


def classify(
    train: Floats, train_labels: NDArray[np.int64], test: Floats, labels: NDArray[np.int64]
) -> dict[str, float]:
    """kNN and linear probe of frozen features of sounds."""
    near = knn(train, train_labels, test, labels, k=_NEIGHBOURS)
    linear = linear_probe(train, train_labels, test, labels)
    return {
        "knn": near["accuracy"],
        "knn_balanced": near["balanced_accuracy"],
        "probe": linear["accuracy"],
        "probe_balanced": linear["balanced_accuracy"],
    }


def explain(data: AudioSet) -> str:
    """What the table's columns mean, in words."""
    _, texts, _ = asked(data.test)
    words = (
        f"R@k: a right one is among the k nearest of {len(data.test)} held-out recordings, or of their {len(texts)} "
        "different descriptions; every recording with the description that was asked for is right."
    )
    if len(labelled(data.test)) and data.classes:
        words += (
            f" Zero-shot: the nearest of the names of {len(data.classes)} classes, without labels. Training had other "
            "recordings of these classes, with descriptions that name them: new are the sounds, not the names. kNN and "
            "linear probe read the audio tower before its projection."
        )
    share = np.sqrt(0.25 / len(data.test))
    return f"{words} One standard error of a share of {len(data.test)} recordings is up to {share:.1%}."


def _batches(collate: SoundTextCollate, rows: Rows) -> Iterator[Batch]:
    for start in range(0, len(rows), _AT_ONCE):
        yield collate.window([rows[i] for i in range(start, min(start + _AT_ONCE, len(rows)))])
