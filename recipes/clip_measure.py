"""What a CLIP run is judged by: retrieval, zero-shot classification, kNN and a linear probe on held-out images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.knn import knn
from evaluation.probe import linear_probe
from evaluation.report import Column
from evaluation.retrieval import recall, retrieve_both
from evaluation.zero_shot import class_vectors, zero_shot
from modalities.image_text.clip import Clip
from modalities.image_text.collate import PairCollate
from modalities.image_text.encode import encode_images, encode_texts
from modalities.image_text.pairs import Pairs, unseen_bases
from modalities.pictures.rows import Rows, first_of_each

COLUMNS = [
    Column("text_to_image_r1", "text→image R@1"),
    Column("text_to_image_r5", "text→image R@5"),
    Column("image_to_text_r1", "image→text R@1"),
    Column("new_text_to_image_r1", "new things R@1"),
    Column("zero_shot", "zero-shot"),
    Column("knn", "kNN"),
    Column("probe", "linear probe"),
]


@dataclass(frozen=True)
class EvalConfig:
    """How the trained model and what it is compared with are measured."""

    prompts: str = "{}"
    """Templates of zero-shot prompts, separated by |; {} stands for the class."""
    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    classic: bool = True
    """Compare with colour and gradient histograms joined to TF-IDF by canonical correlation."""
    supervised_epochs: float = 16.0
    """Train the image tower on the labels for this long, as the bound; 0 does not."""
    rows: int = 10_000
    """Training rows that probes and the classic feature use at most, the first ones."""


def labelled(rows: Rows) -> NDArray[np.bool_]:
    """Which rows have a label, (n,)."""
    return np.array([label is not None for label in rows.labels])


def probe_rows(data: Pairs, cfg: EvalConfig) -> Rows | None:
    """Labelled training rows to fit probes on, one for each thing; a stream has none at hand."""
    if not isinstance(data.train, Rows):
        return None
    rows = data.train.select(range(min(len(data.train), cfg.rows)))
    rows = rows.select(np.flatnonzero(labelled(rows)))
    return rows.select(first_of_each(rows))


def judged(data: Pairs) -> NDArray[np.bool_]:
    """Which held-out images classification is judged on, (n,): labelled ones of new things."""
    return new_things(data) & labelled(data.test)


def captions_of(rows: Rows) -> tuple[list[str], NDArray[np.int64]]:
    """Every caption of `rows`, and the id of its image."""
    texts = [caption for captions in rows.captions for caption in captions]
    return texts, np.repeat(rows.ids, [len(captions) for captions in rows.captions])


def new_things(data: Pairs) -> NDArray[np.bool_]:
    """Which held-out images show something that has no variant in training, (n,); all where that is not known.

    A held-out drawing of a waving hand may have a twin in training that differs in skin tone.
    """
    if not isinstance(data.train, Rows):
        return np.ones(len(data.test), dtype=np.bool_)
    new = unseen_bases(data.train, data.test)
    return new if new.any() else ~new


def explain(data: Pairs) -> str:
    """What the table's columns mean, in words."""
    new = new_things(data)
    words = f"R@k: the right one is among the k nearest of {len(data.test)} held-out images, or of their captions."
    if not new.all():
        words += (
            f" The split is by drawing, so many have a twin in training that differs in skin tone alone; {new.sum()} "
            "show new things, and zero-shot, kNN and linear probe (accuracy) are of these only, with one training "
            "drawing of each thing."
        )
    return words


def retrieval(image: NDArray[np.float32], text: NDArray[np.float32], data: Pairs) -> dict[str, float]:
    """Recall both ways on the held-out images, with all their captions; "new_": of the captions of new things.

    image (n, d) in the order of data.test, text (m, d) in that of `captions_of(data.test)`.
    """
    _, text_ids = captions_of(data.test)
    scores = retrieve_both(image, text, data.test.ids, text_ids)
    new = np.isin(text_ids, data.test.ids[new_things(data)])
    if not new.all():
        of_new = recall(text[new], image, text_ids[new], data.test.ids)
        scores |= {f"new_text_to_image_r{k}": value for k, value in of_new.items()}
    return scores


def measure_retrieval(task: Clip, collate: PairCollate, data: Pairs) -> dict[str, float]:
    """Recall at 1 and 5: cheap enough to watch while training."""
    texts, _ = captions_of(data.test)
    scores = retrieval(encode_images(task, collate, data.test), encode_texts(task, collate, texts), data)
    return {name: value for name, value in scores.items() if not name.endswith("_r10")}


def measure(task: Clip, collate: PairCollate, data: Pairs, cfg: EvalConfig) -> dict[str, float]:
    """Everything that the data allows: without labels, retrieval alone."""
    texts, _ = captions_of(data.test)
    image = encode_images(task, collate, data.test)  # (n, d)
    scores = retrieval(image, encode_texts(task, collate, texts), data)
    chosen = judged(data)
    if not chosen.any():
        return scores
    image, labels = image[chosen], np.array(data.test.labels)[chosen].astype(np.int64)
    prompts = class_vectors(lambda some: encode_texts(task, collate, some), data.class_words, cfg.prompts.split("|"))
    guesses = zero_shot(image, prompts, labels)
    scores |= {"zero_shot": guesses["accuracy"], "zero_shot_balanced": guesses["balanced_accuracy"]}
    if (train := probe_rows(data, cfg)) is not None:
        scores |= classify(encode_images(task, collate, train), np.array(train.labels), image, labels)
    return scores


def classify(
    train: NDArray[np.float32], train_labels: NDArray[np.int64], test: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, float]:
    """kNN and linear probe of frozen image features."""
    near, linear = knn(train, train_labels, test, labels), linear_probe(train, train_labels, test, labels)
    return {
        "knn": near["accuracy"],
        "knn_balanced": near["balanced_accuracy"],
        "probe": linear["accuracy"],
        "probe_balanced": linear["balanced_accuracy"],
    }
