"""What sentence vectors have to beat: new weights, the encoder before sentences were compared, TF-IDF; and a bound."""

from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import set_seed
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.report import Row
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.collate import TextsCollate
from modalities.text.sentence_encoder import SentenceTask
from modalities.text.simcse import SimCSE, SimCSEConfig
from recipes.run import Run
from recipes.sentences_measure import Floats, Judged, measure
from recipes.sentences_tasks import Config, encoder_of, negatives_or_pairs
from trainers.folder import digest
from trainers.loop import fit

_WORDS = 8000  # of TF-IDF


def before_training(
    config: Config, start: ModelConfig, tokenizer: PreTrainedTokenizerBase, judged: Judged, device: torch.device
) -> list[Row]:
    """New weights over several seeds, and the encoder that the method started from where that is another one."""

    def found(encoder: PreTrainedModel) -> dict[str, float]:
        task = SentenceTask(encoder, tokenizer, config.model.length, config.pooling).to(device).eval()
        return measure(encoder_of(task), judged)

    scores = []
    for seed in range(config.eval.seeds):
        set_seed(1000 + seed)
        encoder = build_model(start, tokenizer)
        scores.append(found(type(encoder)(encoder.config)))  # in the shape of what the method starts from
    rows = [Row("random initialisation", {key: [each[key] for each in scores] for key in scores[0]})] if scores else []
    if start.start_from:
        rows.append(Row("before this method", dict(found(build_model(start, tokenizer)))))
    return rows


def classic(texts: list[str], judged: Judged) -> list[Row]:
    """TF-IDF of words, fitted on the training texts."""
    vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english", max_features=_WORDS).fit(texts)

    def encode(some: list[str]) -> Floats:
        return vectors.transform(some).toarray().astype("float32")

    return [Row("TF-IDF", dict(measure(encode, judged)))]


def supervised(
    config: Config,
    start: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    judged: Judged,
    identity: dict[str, Any],
    run: Run,
) -> list[Row]:
    """Supervised SimCSE on the training part of the pairs that are searched; every process takes part."""
    steps = config.eval.supervised_steps
    if not steps or judged.training is None:
        return []
    rows = negatives_or_pairs(judged.training)
    if len(rows) < config.train.batch_size:
        run.say(
            f"No supervised bound: eval.pairs has {len(rows)} training rows, fewer than train.batch_size "
            f"{config.train.batch_size}."
        )
        return []
    set_seed(config.train.seed)
    encoder = build_model(start, tokenizer)
    task = SimCSE(encoder, tokenizer, config.model.length, SimCSEConfig(), config.pooling, config.model.dropout)
    options = replace(config.train, out=run.out / "supervised", steps=steps, evaluate_every=0)
    collate = TextsCollate(tokenizer, min(config.sentence_length, config.model.length))
    named = identity | {"bound": digest([rows.texts, rows.ids.tolist()])}
    task = fit(task, rows, collate, options, identity=named)
    return [Row("supervised SimCSE", dict(measure(encoder_of(task), judged)))] if run.main else []
