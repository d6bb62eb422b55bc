"""What an encoder of text is judged by: what its frozen features know of a passage's topic, and of names in a sentence
without capital letters."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.knn import knn
from evaluation.layers import best_layer
from evaluation.probe import linear_probe, probe_predictions
from evaluation.report import Column
from modalities.text.capitals import Capitals, capitals
from modalities.text.config import DataConfig
from modalities.text.features import text_layers, word_layers
from modalities.text.rows import Rows, TextSet
from modalities.text.sentences import passages
from modalities.text.sources import load
from modalities.text.word_offsets import joined, words_of_tokens

Floats = NDArray[np.float32]

COLUMNS = [
    Column("held_out_accuracy", "hidden tokens"),
    Column("held_out_perplexity", "perplexity", percent=False),
    Column("pairs", "pairs"),
    Column("topic", "topic, probe"),
    Column("topic_knn", "topic, kNN"),
    Column("capitals", "capitals, F1"),
    Column("new_capitals", "new words, F1"),
]
_SHORTEST = 4  # words of a line
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # a coarse sweep: a probe is fitted for every layer of every seed


@dataclass(frozen=True)
class EvalConfig:
    """How the trained encoder and what it is compared with are measured."""

    labelled: DataConfig = field(default_factory=lambda: DataConfig(source="bible"))
    """Labelled documents whose topic is probed; those held out are kept from pretraining too. An empty source probes
    none."""
    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    classic: bool = True
    """Compare with TF-IDF and with how often each word was capitalised."""
    supervised_epochs: float = 3.0
    """Train the same encoder from scratch on the labels for this long, as the bound; 0 does not."""
    passages: int = 4000
    """Labelled lines (verses, paragraphs) to fit a probe on at most, evenly spaced; half as many are judged."""
    words: int = 12_000
    """Words to fit the probe of capitals on at most; half as many are judged."""

    def __post_init__(self) -> None:
        for name in ("seeds", "supervised_epochs"):
            if getattr(self, name) < 0:
                raise ValueError(f"eval.{name} is {getattr(self, name)}; it must not be negative.")
        for name in ("passages", "words"):
            if getattr(self, name) < 10:
                raise ValueError(f"eval.{name} is {getattr(self, name)}; a probe needs at least 10.")


@dataclass(frozen=True)
class Labelled:
    """Passages with a class, in train and in held-out documents."""

    train: list[str]
    train_labels: NDArray[np.int64]
    test: list[str]
    labels: NDArray[np.int64]
    classes: list[str]
    held_out: frozenset[str]
    """Whole documents that the passages to judge by are from."""
    source: str
    licence: str
    credit: str


@dataclass(frozen=True)
class Probes:
    """Everything that encoders are probed on, the same for each."""

    length: int
    """Tokens at which a passage is cut."""
    topics: Labelled | None
    capitals: tuple[Capitals, Capitals] | None
    """Of training documents, and of held-out ones."""

    @property
    def barred(self) -> frozenset[str]:
        """Documents that must not be trained on."""
        return self.topics.held_out if self.topics else frozenset()

    cut: float = 0.0
    """Share of the lines with a topic that are longer than `length`; known once `as_read` has seen the tokens."""


def prepare(cfg: EvalConfig, data: TextSet, length: int) -> Probes:
    """Read the labelled documents, and cut both sets to what is asked for."""
    topics = _topics(cfg) if cfg.labelled.source else None
    names = None
    if isinstance(data.train, Rows) and len(data.test):
        barred = topics.held_out if topics else frozenset()
        train = [text for row in data.train.texts for text in row[:1] if text not in barred]
        names = _some(train, cfg.words), _some([row[0] for row in data.test.texts], cfg.words // 2)
        if any(len(np.unique(side.labels[side.asked])) < 2 for side in names):
            names = None  # a script without capital letters, or next to no text
    return Probes(length, topics, names)


def as_read(probes: Probes, tokenizer: PreTrainedTokenizerBase) -> Probes:
    """The probes as a model reads them: words past `length` tokens are not asked about, of nobody."""
    names, cut = probes.capitals, 0.0
    if names is not None:
        names = _read(names[0], tokenizer, probes.length), _read(names[1], tokenizer, probes.length)
        if any(len(np.unique(side.labels[side.asked])) < 2 for side in names):
            names = None
    if probes.topics is not None:
        lines = [*probes.topics.train, *probes.topics.test]
        found = tokenizer(lines, verbose=False)["input_ids"]
        cut = float(np.mean([len(ids) > probes.length for ids in found]))
    return replace(probes, capitals=names, cut=cut)


def _read(side: Capitals, tokenizer: PreTrainedTokenizerBase, length: int) -> Capitals:
    options: dict[str, Any] = {"truncation": True, "max_length": length, "return_offsets_mapping": True}
    found = tokenizer([joined(words) for words in side.texts], **options)["offset_mapping"]
    read = [np.isin(np.arange(len(w)), words_of_tokens(w, o)) for w, o in zip(side.texts, found, strict=True)]
    return replace(side, asked=side.asked & np.concatenate(read))


def without(rows: Rows, barred: frozenset[str]) -> Rows:
    """The rows that hold none of the documents that probes are judged on."""
    return rows.select([place for place, texts in enumerate(rows.texts) if not barred.intersection(texts)])


def texts_of(data: TextSet, probes: Probes) -> tuple[list[str], list[str]]:
    """What to train on and what to measure on: every text of a row is a document, and what probes are judged on is left
    out of the former. Raises ValueError for a stream, whose texts are not at hand, and where nothing is held out."""
    if not isinstance(data.train, Rows):
        raise ValueError("data.stream is set, but this recipe packs rows at hand; drop it.")
    texts = list(chain.from_iterable(without(data.train, probes.barred).texts))
    test = list(chain.from_iterable(data.test.texts))
    if not any(text.strip() for text in test):
        raise ValueError("There is no held-out text to measure on; raise data.held_out, or name a data.test_split.")
    return texts, test


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Probes
) -> tuple[dict[str, float], dict[str, str]]:
    """The numbers that the data allows, and the layer that was chosen for each question."""
    scores: dict[str, float] = {}
    chosen: dict[str, str] = {}
    if (known := probes.topics) is not None:
        train, test = (text_layers(model, tokenizer, texts, probes.length) for texts in (known.train, known.test))
        layer = chosen["topic"] = best_layer(train, known.train_labels, strengths=_STRENGTHS[1::2])
        scores |= topic_scores(train[layer], test[layer], known)
    if probes.capitals is not None:
        layers, labels, words = [], [], []
        for side in probes.capitals:
            found, is_known = word_layers(model, tokenizer, side.texts, probes.length)
            used = (side.asked & is_known)[is_known]
            layers.append({name: rows[used] for name, rows in found.items()})
            labels.append(side.labels[side.asked & is_known])
            words.append([word for word, use in zip(side.words, side.asked & is_known, strict=True) if use])
        layer = chosen["capitals"] = best_layer(layers[0], labels[0], strengths=_STRENGTHS[1::2])
        guesses, _ = probe_predictions(layers[0][layer], labels[0], layers[1][layer], strengths=_STRENGTHS)
        scores |= capital_scores(guesses.astype(np.int64), labels[1], words[1], set(words[0]))
    return scores, chosen


def topic_scores(train: Floats, test: Floats, known: Labelled) -> dict[str, float]:
    """Accuracy of a linear probe and of nearest neighbours."""
    linear = linear_probe(train, known.train_labels, test, known.labels, strengths=_STRENGTHS)
    near = knn(train, known.train_labels, test, known.labels)
    return {
        "topic": linear["accuracy"],
        "topic_balanced": linear["balanced_accuracy"],
        "topic_knn": near["accuracy"],
        "topic_knn_balanced": near["balanced_accuracy"],
    }


def capital_scores(
    guesses: NDArray[np.int64], labels: NDArray[np.int64], words: Sequence[str], seen: set[str]
) -> dict[str, float]:
    """F1 of capitalised words, of all words and of those that never stood in the probe's training text."""
    new = np.array([word not in seen for word in words], dtype=np.bool_)
    return {
        "capitals": f1(guesses, labels),
        "new_capitals": f1(guesses[new], labels[new]),
        "capitals_accuracy": float((guesses == labels).mean()),
    }


def f1(guesses: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Harmonic mean of precision and recall of class 1; 0 where there is neither."""
    right = int(((guesses == 1) & (labels == 1)).sum())
    total = int((guesses == 1).sum() + (labels == 1).sum())
    return 2 * right / total if total else 0.0


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` places out of `count`, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _topics(cfg: EvalConfig) -> Labelled:
    data = load(cfg.labelled)
    if not isinstance(data.train, Rows):
        raise ValueError("eval.labelled.stream is set, but probes need rows at hand; drop it.")
    if len(data.roles) != 1:
        raise ValueError(
            f"eval.labelled.source {data.name} has {len(data.roles)} texts a row, but the topic is that of one; name "
            "one in eval.labelled.text_column, or another source."
        )
    sides = []
    for rows, most in ((data.train, cfg.passages), (data.test, cfg.passages // 2)):
        lines = passages(_with_label(rows), "paragraph", _SHORTEST)
        lines = lines.select(evenly(len(lines), most))
        sides.append(([row[0] for row in lines.texts], np.array(lines.labels, dtype=np.int64)))
    (train, train_labels), (test, labels) = sides
    if len(test) == 0 or len(np.unique(train_labels)) < 2:
        raise ValueError(
            f"eval.labelled.source {data.name} gives {len(np.unique(train_labels))} classes to fit a probe on and "
            f"{len(test)} held-out lines to judge it by; set eval.labelled.label_column and eval.labelled.held_out, or "
            "leave the source empty."
        )
    barred = frozenset(row[0] for row in data.test.texts)
    about = data.name, data.licence, data.credit
    return Labelled(train, train_labels, test, labels, data.classes, barred, *about)


def _with_label(rows: Rows) -> Rows:
    return rows.select([place for place, label in enumerate(rows.labels) if label is not None])


def _some(texts: Sequence[str], most: int) -> Capitals:
    """Passages with at most about `most` words to ask about, evenly spaced."""
    everything = capitals(texts)
    lengths = np.array([len(text) for text in everything.texts])
    share = min(1.0, most / max(1, int(everything.asked.sum())))
    chosen = evenly(len(lengths), max(1, int(share * len(lengths))))
    passage_of = np.repeat(np.arange(len(lengths)), lengths)
    kept = np.isin(passage_of, chosen)
    return Capitals([everything.texts[place] for place in chosen], everything.asked[kept], everything.labels[kept])


def explain(probes: Probes, chosen: dict[str, dict[str, str]]) -> str:
    """What the table's columns mean, in words. chosen: of each row, the layers that were chosen."""
    parts = []
    if (known := probes.topics) is not None:
        parts.append(
            f"Topic: accuracy on {len(known.test):,} lines of held-out documents ({known.source}, "
            f"{len(known.classes)} classes), from {len(known.train):,} lines of others, by frozen features averaged "
            "over tokens."
        )
        if probes.cut > 0.01:
            parts.append(f"{probes.cut:.0%} of these lines are cut at the {probes.length} tokens that the model reads.")
    if probes.capitals is not None:
        train, test = (int(side.asked.sum()) for side in probes.capitals)
        parts.append(
            f"Capitals: F1 of the capitalised among {test:,} words of held-out text that is shown in lower case, from "
            f"{train:,} words of training text, by frozen features of the word in its passage; words that begin a "
            "sentence are not asked about, and new words are those that the probe never met."
        )
    layers = {row: ", ".join(f"{what} {layer}" for what, layer in found.items()) for row, found in chosen.items()}
    if any(layers.values()):
        shown = "; ".join(f"{row}: {found}" for row, found in layers.items() if found)
        parts.append(f"Layers, chosen on a fifth of the training side: {shown}.")
    return " ".join(parts)
