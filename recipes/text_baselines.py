"""What an encoder of text has to beat: itself before training, TF-IDF, counting words, and the supervised bound."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from accelerate.utils import set_seed
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from evaluation.accuracy import accuracies
from evaluation.report import Row
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.collate import TextsCollate
from modalities.text.rows import documents
from modalities.text.supervised import TextClassifier
from recipes.text_measure import EvalConfig, Labelled, Probes, capital_scores, measure
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.loop import fit

_BATCH = 32


def before_training(
    name: str,
    build: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    probes: Probes,
    seeds: int,
    device: torch.device,
) -> tuple[list[Row], dict[str, dict[str, str]]]:
    """Encoders with new weights, drawn by each call of `build` from torch's generator, and the layers chosen for the
    first of them."""
    scores: list[dict[str, float]] = []
    chosen: dict[str, dict[str, str]] = {}
    for seed in range(seeds):
        set_seed(1000 + seed)
        found, layers = measure(build().to(device).eval(), tokenizer, probes)  # type: ignore[arg-type]
        scores.append(found)
        chosen.setdefault(name, layers)
    return [Row(name, {key: [each[key] for each in scores] for key in scores[0]})] if scores else [], chosen


def classic(probes: Probes) -> list[Row]:
    """TF-IDF with logistic regression for topics; for capitals, how each word was mostly written."""
    rows = []
    if probes.topics is not None:
        rows.append(Row("TF-IDF, logistic regression", dict(tf_idf(probes.topics))))
    if probes.capitals is not None:
        train, test = probes.capitals
        words = [word for word, asked in zip(train.words, train.asked, strict=True) if asked]
        asked = [word for word, asked in zip(test.words, test.asked, strict=True) if asked]
        guesses = by_word(words, train.labels[train.asked], asked)
        rows.append(
            Row(
                "each word as mostly written", dict(capital_scores(guesses, test.labels[test.asked], asked, set(words)))
            )
        )
    return rows


def tf_idf(known: Labelled) -> dict[str, float]:
    """Accuracy of logistic regression on TF-IDF of words and word pairs; its penalty is chosen on a fifth."""
    found = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    train, test = found.fit_transform(known.train), found.transform(known.test)
    held = np.random.default_rng(0).permutation(len(known.train)) < len(known.train) // 5
    labels = known.train_labels

    def fitted(strength: float, rows: NDArray[np.bool_]) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=200).fit(train[rows], labels[rows])

    best = max((1.0, 10.0, 100.0), key=lambda strength: fitted(strength, ~held).score(train[held], labels[held]))
    guesses = fitted(best, np.ones(len(labels), dtype=np.bool_)).predict(test)
    scores = accuracies(guesses == known.labels, known.labels)
    return {"topic": scores["accuracy"], "topic_balanced": scores["balanced_accuracy"]}


def by_word(words: Sequence[str], labels: NDArray[np.int64], asked: Sequence[str]) -> NDArray[np.int64]:
    """Each word as it was mostly written in `words`; one that never stood there, in lower case."""
    known, code = np.unique(np.array(words), return_inverse=True)
    mostly = np.bincount(code, weights=labels) / np.bincount(code) > 0.5  # (k,)
    table = dict(zip(known.tolist(), mostly.tolist(), strict=True))
    return np.array([table.get(word, False) for word in asked], dtype=np.int64)


def supervised(
    model: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    probes: Probes,
    train: TrainConfig,
    cfg: EvalConfig,
    processes: int,
) -> list[Row]:
    """The same encoder trained from scratch on the labels of the topics; every process takes part."""
    known = probes.topics
    if known is None or not cfg.supervised_epochs or len(known.train) < processes:
        return []
    rows = documents(known.train, known.train_labels.tolist())
    options = replace(
        train,
        out=train.out / "supervised",
        batch_size=max(1, min(_BATCH, len(rows)) // processes) * processes,
        micro_batch=0,
        steps=0,
        epochs=cfg.supervised_epochs,
        evaluate_every=0,
    )
    set_seed(train.seed)
    encoder = build_model(model, tokenizer, AutoModel)
    if model.start_from:
        encoder = new_weights(encoder)
    task = TextClassifier(encoder, tokenizer, len(known.classes))
    collate = TextsCollate(tokenizer, probes.length, labels=True)
    rows_read = digest([known.train, known.train_labels.tolist(), known.classes])
    identity = {"model": asdict(model), "rows": rows_read, "tokenizer": digest(tokenizer.get_vocab())}
    task = fit(task, rows, collate, options, identity=identity)
    guesses = []
    with torch.inference_mode():
        for start in range(0, len(known.test), _BATCH):
            tokens = collate.tokens(known.test[start : start + _BATCH])
            guesses.append(task.logits({name: x.to(encoder.device) for name, x in tokens.items()}).argmax(1).cpu())
    scores = accuracies(torch.cat(guesses).numpy() == known.labels, known.labels)
    return [Row("supervised", {"topic": scores["accuracy"], "topic_balanced": scores["balanced_accuracy"]})]


def new_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A model of the same shape with weights from torch's global generator; those that were not trained are not."""
    new: PreTrainedModel = AutoModel.from_config(model.config, dtype=torch.float32)
    for ours, theirs in zip(new.parameters(), model.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    return new
