"""Tiny fine-tuning tasks of several families, for the contract of every task."""

from collections.abc import Callable
from functools import cache
from typing import Any

from modalities.task import Batch, Task
from modalities.text.backbones import ModelConfig
from modalities.text.fine_tuning import PairRegression, SequenceClassification, TokenClassification
from modalities.text.labelled import PairCollate, TaggedCollate
from modalities.text.rows import Row
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer

LENGTH = 24
TEXTS = ["the red cat sat", "a blue dog ran off", "green birds fly", "the small fish swam", "an old cow slept", "a fox",
         "two mice hid here", "one grey owl watched them all"]  # fmt: skip
SCORES = [0.5, 1.0, 0.0, 0.25, 0.75, 1.0, 0.0, 0.5]


@cache
def tokenizer(kind: Any = "wordpiece") -> Any:
    return build_tokenizer(TokenizerConfig(kind=kind, vocabulary=290 if kind == "bpe" else 100), TEXTS, LENGTH)


def model(family: Any = "bert") -> ModelConfig:
    return ModelConfig(family=family, width=16, layers=2, heads=2, feed_forward=32, length=LENGTH, dropout=0.0)


def rows(pairs: bool, label: bool) -> list[Row]:
    return [
        Row(
            id=i,
            texts=[text, TEXTS[i - 3]] if pairs else [text],
            label=i % 3 if label else None,
            score=None if label else SCORES[i],
        )
        for i, text in enumerate(TEXTS)
    ]


def classification(family: Any = "bert", pairs: bool = False) -> tuple[Task, Batch]:
    task = SequenceClassification(model(family), tokenizer(), ["a", "b", "c"])
    return task, PairCollate(tokenizer(), task.encoder, LENGTH)(rows(pairs, label=True))


def regression(family: Any = "bert") -> tuple[Task, Batch]:
    task = PairRegression(model(family), tokenizer(), SCORES)
    return task, PairCollate(tokenizer(), task.encoder, LENGTH)(rows(pairs=True, label=False))


def tokens(family: Any = "bert") -> tuple[Task, Batch]:
    task = TokenClassification(model(family), tokenizer(), ["no", "yes"])
    # As many questions in each row: only `fit` makes the mean over all processes of rows that have more or fewer.
    tagged = [{"words": text.split(), "labels": [i % 2, i // 2 % 2, *[-100] * 9][: len(text.split())]}
              for i, text in enumerate(TEXTS)]  # fmt: skip
    return task, TaggedCollate(tokenizer(), LENGTH)(tagged)  # type: ignore[arg-type]


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "fine-tuned classes": (SequenceClassification, classification),
    "fine-tuned classes of pairs": (SequenceClassification, lambda: classification(pairs=True)),
    "fine-tuned scores": (PairRegression, regression),
    "fine-tuned tokens": (TokenClassification, tokens),
}
