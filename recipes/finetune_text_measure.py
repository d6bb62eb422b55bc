"""What fine-tuning learns from, and what it has to beat: guessing, counting words, and the same model without its
pretraining."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.accuracy import accuracies
from evaluation.correlation import pearson, spearman
from evaluation.report import Column, Row
from modalities.text.backbones import ModelConfig
from modalities.text.capitals import capitals
from modalities.text.config import DataConfig
from modalities.text.fine_tuning import (
    FineTuning,
    PairRegression,
    SequenceClassification,
    TokenClassification,
    answers,
)
from modalities.text.labelled import PairCollate, TaggedCollate, TaggedTexts
from modalities.text.pairs import graded
from modalities.text.rows import Rows, TextSet
from modalities.text.sentences import passages
from modalities.text.sources import built_in, load
from objectives.predictive import IGNORE
from recipes.text_baselines import by_word
from recipes.text_measure import capital_scores, evenly

Kind = Literal["classification", "regression", "tokens"]
COLUMNS = [
    Column("accuracy", "accuracy"),
    Column("balanced_accuracy", "balanced"),
    Column("f1", "F1, mean of classes"),
    Column("spearman", "Spearman"),
    Column("pearson", "Pearson"),
    Column("capitals", "capitals, F1"),
    Column("new_capitals", "new words, F1"),
]
_BATCH = 64
_STRENGTHS = (1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Question:
    """What is asked of which texts."""

    kind: Kind
    data: TextSet
    train: Any
    test: Any
    classes: list[str]
    at_hand: tuple[int, int]
    """Rows of both sides, of which train and test are evenly spaced ones."""

    @cached_property
    def answer(self) -> NDArray[Any]:
        """Of the held-out rows; of words, those that are asked about, end to end."""
        return _answers(self.test)

    def task(self, model: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> FineTuning:
        """A model with a head for the question."""
        if self.kind == "tokens":
            return TokenClassification(model, tokenizer, self.classes)
        if self.kind == "regression":
            return PairRegression(model, tokenizer, self.train.scores)
        return SequenceClassification(model, tokenizer, self.classes)

    def collate(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, length: int) -> Any:
        """Rows to batches."""
        return TaggedCollate(tokenizer, length) if self.kind == "tokens" else PairCollate(tokenizer, model, length)

    def texts(self) -> list[str]:
        """Of the training side, to make tokens of."""
        if self.kind == "tokens":
            return [" ".join(words) for words in self.train.words]
        return [text for texts in self.train.texts for text in texts]


def ask(kind: Kind, cfg: DataConfig, most: int) -> Question:
    """Read the data and cut it to the question: built-in documents to lines, translations to pairs with a score, text
    to lower-cased words; rows of a table stay as they are. At most `most` training rows, evenly spaced, and half as
    many held-out ones.

    Raises:
        ValueError: for data without the labels or the scores that are asked for, with one class, or with three texts.
    """
    data = load(cfg)
    if not isinstance(data.train, Rows):
        raise ValueError("data.stream is set, but fine-tuning reads rows at hand; drop it.")
    if kind == "classification" and len(data.roles) > 2:
        raise ValueError(
            f"data.text_column gives {len(data.roles)} texts a row, but a class is asked of a text or a pair; name one "
            "or two."
        )
    sides = [_side(kind, rows, cfg) for rows in (data.train, data.test)]
    train, test = (_some(side, size) for side, size in zip(sides, (most, most // 2), strict=True))
    if len(test) == 0:
        raise ValueError(f"{data.name} has no held-out rows to measure on; raise data.held_out.")
    if kind == "classification" and len(set(train.labels)) < 2:
        raise ValueError(
            f"All {len(train)} training rows of {data.name} are of one class, so there is nothing to tell apart; name "
            "another column with data.label_column."
        )
    classes = ["lower case", "capital"] if kind == "tokens" else data.classes
    return Question(kind, data, train, test, classes, (len(sides[0]), len(sides[1])))


def measure(task: FineTuning, question: Question, collate: Any) -> dict[str, float]:
    """What the task says of the held-out rows, scored. Words behind the length that the model reads count as wrong."""
    rows, found = question.test, []
    for start in range(0, len(rows), _BATCH):
        batch = collate([rows[place] for place in range(start, min(start + _BATCH, len(rows)))])
        said = answers(task, batch).numpy()
        if question.kind != "tokens":
            found.append(said)
            continue
        for place in range(len(said)):
            asked = batch["labels"][place].numpy() != IGNORE
            wanted = np.array(rows[start + place]["labels"])
            wanted = wanted[wanted != IGNORE]
            missed = 1 - wanted[asked.sum() :]  # cut off: the other class
            found.append(np.concatenate([said[place][asked], missed]))
    return _scores(question, np.concatenate(found))


def baselines(question: Question) -> list[Row]:
    """Guessing what is most common, and the classic way to count words."""
    known, wanted = _answers(question.train), question.answer
    if question.kind == "regression":
        texts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(question.texts())
        first, second = (texts.transform([pair[i] for pair in question.test.texts]) for i in (0, 1))
        said = np.asarray(first.multiply(second).sum(1)).ravel()
        return [Row("TF-IDF, cosine", dict(_scores(question, said)))]
    common = np.full(len(wanted), np.bincount(known).argmax())
    rows = [Row("always the most common", dict(_scores(question, common)))]
    if question.kind == "tokens":
        said = by_word(_words(question.train), known, _words(question.test))
        return [*rows, Row("each word as mostly written", dict(_scores(question, said)))]
    found = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train, test = (found.fit_transform(_joined(question.train)), found.transform(_joined(question.test)))
    held = np.random.default_rng(0).permutation(len(known)) < len(known) // 5

    def fitted(strength: float, rows: NDArray[np.bool_]) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=200).fit(train[rows], known[rows])

    best = max(_STRENGTHS, key=lambda strength: fitted(strength, ~held).score(train[held], known[held]))
    said = fitted(best, np.ones(len(known), dtype=np.bool_)).predict(test)
    return [*rows, Row("TF-IDF, logistic regression", dict(_scores(question, said)))]


def explain(question: Question) -> str:
    """What was asked, in words."""
    sizes = f"{len(question.train):,} training rows and {len(question.test):,} held-out ones"
    about = {
        "classification": f"One of {len(question.classes)} classes of each text",
        "regression": "A number for each pair of texts, judged by its rank correlation with the given ones",
        "tokens": "Whether each word of a lower-cased text was capitalised; words that begin a sentence are not asked "
        "about, and new words are those that no training text has",
    }[question.kind]
    return f"{about}: {sizes} of {question.data.name}, of other documents."


def _side(kind: Kind, rows: Rows, cfg: DataConfig) -> Any:
    if kind == "tokens":
        return _tagged([text for texts in rows.texts for text in texts])
    if kind == "regression":
        rows = graded(rows) if cfg.source == "verses" else rows
        if any(score is None for score in rows.scores) or any(len(texts) != 2 for texts in rows.texts):
            raise ValueError(
                f"{cfg.source} has no pairs of texts with a score; name two columns with data.text_column and one with "
                "data.score_column."
            )
        return rows
    if any(label is None for label in rows.labels):
        raise ValueError(f"{cfg.source} has rows without a class; name the column with data.label_column.")
    whole = built_in(cfg.source) and all(len(texts) == 1 for texts in rows.texts)
    return passages(rows, "paragraph") if whole else rows


def _tagged(texts: Sequence[str]) -> TaggedTexts:
    found = capitals(texts)
    bounds = np.cumsum([len(words) for words in found.texts])[:-1]
    labels = np.split(np.where(found.asked, found.labels, IGNORE), bounds) if found.texts else []
    return TaggedTexts(found.texts, [some.tolist() for some in labels])


def _some(side: Any, most: int) -> Any:
    chosen = evenly(len(side), most)
    if isinstance(side, Rows):
        return side.select(chosen)
    return TaggedTexts([side.words[i] for i in chosen], [side.labels[i] for i in chosen])


def _answers(side: Any) -> NDArray[Any]:
    if isinstance(side, TaggedTexts):
        asked = [label for some in side.labels for label in some if label != IGNORE]
        return np.array(asked, dtype=np.int64)
    if side.labels and side.labels[0] is not None:
        return np.array(side.labels, dtype=np.int64)
    return np.array(side.scores, dtype=np.float64)


def _words(side: TaggedTexts) -> list[str]:
    return [
        word
        for words, labels in zip(side.words, side.labels, strict=True)
        for word, label in zip(words, labels, strict=True)
        if label != IGNORE
    ]


def _joined(rows: Rows) -> list[str]:
    return [" ".join(texts) for texts in rows.texts]


def _scores(question: Question, said: NDArray[Any]) -> dict[str, float]:
    wanted = question.answer
    if question.kind == "regression":
        return {"spearman": spearman(said, wanted), "pearson": pearson(said, wanted)}
    if question.kind == "tokens":
        return capital_scores(said, wanted, _words(question.test), set(_words(question.train)))
    f1 = float(f1_score(wanted, said, average="macro", zero_division=0))
    return {**accuracies(said == wanted, wanted), "f1": f1}
