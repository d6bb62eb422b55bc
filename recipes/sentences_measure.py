"""What sentence vectors are judged by: people's judgements, finding a verse in another translation, and its topic."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.probe import linear_probe
from evaluation.report import Column
from evaluation.retrieval import recall
from evaluation.sts import cosines, sts
from modalities.text import lee
from modalities.text.config import DataConfig
from modalities.text.rows import Rows
from modalities.text.sources import load

Floats = NDArray[np.float32]
Encode = Callable[[list[str]], Floats]

COLUMNS = [
    Column("sts", "STS, Spearman"),
    Column("sts_pearson", "STS, Pearson"),
    Column("retrieval_r1", "translation R@1"),
    Column("retrieval_r5", "translation R@5"),
    Column("topic", "topic, probe"),
]
_STRENGTHS = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class EvalConfig:
    """How the vectors and what they are compared with are measured."""

    scored: DataConfig = field(default_factory=lambda: DataConfig(source=""))
    """Pairs of texts with a score by people, the held-out part of which is judged by. An empty source takes the 1,225
    pairs of news of Lee et al. (2005)."""
    pairs: DataConfig = field(default_factory=lambda: DataConfig(source="verses"))
    """Rows of two texts that mean the same, the held-out part of which is searched; with labels, topics are probed too.
    An empty source searches none."""
    rows: int = 1000
    """Held-out rows of pairs to search and judge topics by, evenly spaced; twice as many fit the probe."""
    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    classic: bool = True
    """Compare with TF-IDF."""
    supervised_steps: int = 100
    """Steps of supervised SimCSE on the training part of pairs, from the same start, as the bound; 0 takes none."""
    post: Literal["none", "whitening", "flow"] = "none"
    """What to fit on the vectors of training texts afterwards: whitening (2103.15316), which the published folder then
    holds, or a normalising flow (BERT-flow, 2011.05864), which lies beside it."""
    dimensions: int = 0
    """Dimensions that whitening keeps; 0 keeps all."""

    def __post_init__(self) -> None:
        for name in ("seeds", "supervised_steps", "dimensions"):
            if getattr(self, name) < 0:
                raise ValueError(f"eval.{name} is {getattr(self, name)}; it must not be negative.")
        if self.rows < 10:
            raise ValueError(f"eval.rows is {self.rows}; it must be at least 10.")


@dataclass(frozen=True)
class Judged:
    """Everything that vectors are judged by, the same for each."""

    first: list[str]
    second: list[str]
    scores: NDArray[np.float64]
    """By people, of first[i] and second[i]."""
    pairs: Rows | None
    """Held-out rows of two texts."""
    training: Rows | None
    """Rows of the same kind that the probe and the bound are fitted on."""
    barred: frozenset[str]
    """Texts that nothing may be trained on."""
    lee: bool
    """Whether the scores are Lee's."""


def prepare(cfg: EvalConfig) -> Judged:
    """Read what is asked for."""
    first, second, scores = _scored(cfg)
    pairs = training = None
    barred = frozenset(first) | frozenset(second)
    if cfg.pairs.source:
        found = load(cfg.pairs)
        if not isinstance(found.train, Rows) or any(len(texts) != 2 for texts in found.test.texts):
            raise ValueError(
                f"eval.pairs.source {cfg.pairs.source!r} has not two texts in each row at hand; name others."
            )
        if not len(found.test):
            raise ValueError(
                f"eval.pairs.source {cfg.pairs.source!r} has no held-out rows to search; see eval.pairs.held-out, or "
                "drop the search with an empty source."
            )
        barred |= {text for texts in found.test.texts for text in texts}
        pairs, training = _evenly(found.test, cfg.rows), found.train
    return Judged(first, second, scores, pairs, training, barred, not cfg.scored.source)


def without(rows: Rows, barred: frozenset[str]) -> Rows:
    """The rows without the lines that are barred, alone or as part of a text that is; blanks do not count. A text half
    of whose lines are barred takes its row along: a verse that stands in two chapters bars neither, one chapter in
    other words bars all of it."""
    known = {_plain(part) for text in barred for part in (text, *text.splitlines())} - {""}

    def left(text: str) -> str | None:
        lines = [line for line in text.splitlines() if line.strip()]
        free = [line for line in lines if _plain(line) not in known]
        if _plain(text) in known or 2 * (len(lines) - len(free)) >= max(1, len(lines)):
            return None
        return text if len(free) == len(lines) else "\n".join(free)

    found = [[text for given in texts if (text := left(given)) is not None] for texts in rows.texts]
    kept = [place for place, texts in enumerate(rows.texts) if len(found[place]) == len(texts)]
    return replace(rows.select(kept), texts=[found[place] for place in kept])


def measure(encode: Encode, judged: Judged) -> dict[str, float]:
    """The numbers that the data allows."""
    scores = similarity(encode, judged)
    if (pairs := judged.pairs) is None or judged.training is None:
        return scores
    first, second = encode([texts[0] for texts in pairs.texts]), encode([texts[1] for texts in pairs.texts])
    scores |= search(first, second, pairs)
    known = probe_rows(judged)
    if known is not None:
        train, labels = encode([texts[0] for texts in known.texts]), np.array(known.labels)
        found = linear_probe(train, labels, first, np.array(pairs.labels), strengths=_STRENGTHS)
        scores |= {"topic": found["accuracy"], "topic_balanced": found["balanced_accuracy"]}
    return scores


def similarity(encode: Encode, judged: Judged) -> dict[str, float]:
    """Agreement of cosines with people."""
    texts = list(dict.fromkeys(judged.first + judged.second))
    place = {text: number for number, text in enumerate(texts)}
    vectors = encode(texts)  # (m, d)
    first, second = ([place[text] for text in side] for side in (judged.first, judged.second))
    found = sts({"all": (cosines(vectors[first], vectors[second]), judged.scores)})
    return {"sts": found["spearman"], "sts_pearson": found["pearson"]}


def search(first: Floats, second: Floats, pairs: Rows) -> dict[str, float]:
    """Recall of a row's second text from its first, and the other way, the mean of both."""
    there, back = (
        recall(first, second, pairs.ids, pairs.ids, (1, 5)),
        recall(second, first, pairs.ids, pairs.ids, (1, 5)),
    )
    return {f"retrieval_r{k}": (there[k] + back[k]) / 2 for k in (1, 5)}


def probe_rows(judged: Judged) -> Rows | None:
    """Labelled training rows for the probe, where the pairs have labels of two classes or more."""
    if judged.pairs is None or judged.training is None:
        return None
    labels = set(judged.training.labels)
    if None in labels or None in judged.pairs.labels or len(labels) < 2:
        return None
    return _evenly(judged.training, 2 * len(judged.pairs))


def explain(judged: Judged) -> str:
    """What the table's columns mean, in words."""
    whose = "of news that people judged (Lee et al. 2005)" if judged.lee else "that people judged"
    words = f"STS: rank and linear correlation of cosines with the likeness of {len(judged.scores):,} pairs {whose}."
    if judged.pairs is not None:
        words += (
            f" R@k: the other translation is among the k nearest of {len(judged.pairs):,} held-out ones, mean of both "
            "directions."
        )
    if (known := probe_rows(judged)) is not None:
        words += f" Topic: accuracy of a linear probe fitted on {len(known):,} labelled training rows."
    return words


def _scored(cfg: EvalConfig) -> tuple[list[str], list[str], NDArray[np.float64]]:
    if not cfg.scored.source:
        texts, scores = lee.judged()
        left, right = np.triu_indices(len(texts), 1)
        return [texts[i] for i in left], [texts[i] for i in right], scores[left, right]
    found = load(cfg.scored).test
    if not len(found) or any(score is None for score in found.scores) or any(len(texts) != 2 for texts in found.texts):
        raise ValueError(
            f"eval.scored.source {cfg.scored.source!r} has not two texts and a score in each held-out row; see "
            "eval.scored.text-column and eval.scored.score-column."
        )
    first, second = ([texts[side] for texts in found.texts] for side in (0, 1))
    return first, second, np.array(found.scores, dtype=np.float64)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _evenly(rows: Rows, count: int) -> Rows:
    return rows.select(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))
