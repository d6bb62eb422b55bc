"""The methods of sentence vectors by name: options of each, and the rows it learns from."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from modalities.text.augment import EDACollate, EDAConfig
from modalities.text.backbones import ModelConfig
from modalities.text.cert import CERT, CERTConfig
from modalities.text.collate import TextsCollate
from modalities.text.config import DataConfig
from modalities.text.consert import ConSERT, ConSERTConfig
from modalities.text.is_bert import ISBert, ISBertConfig
from modalities.text.pairs import graded, hard_negatives, same_or_not
from modalities.text.quick_thought import QuickThought, QuickThoughtConfig
from modalities.text.rows import Rows, TextSet
from modalities.text.sbert import SBERT, SBERTConfig
from modalities.text.sentence_encoder import Pooling, SentenceTask, encode_texts
from modalities.text.sentences import consecutive, passages
from modalities.text.simcse import SimCSE, SimCSEConfig
from modalities.text.skip_thought import SkipThought, SkipThoughtConfig
from modalities.text.tokenizer import TokenizerConfig
from recipes.sentences_measure import Encode, EvalConfig
from trainers.config import TrainConfig
from trainers.folder import digest

_SHORTEST = 4  # words of a sentence


@dataclass(frozen=True)
class PretrainConfig:
    """What an encoder with new weights learns of its tokens before it compares sentences. Not done where
    model.start-from names a checkpoint."""

    window: int = 8
    """Token vectors start from how often tokens stand at most so many places apart; 0 leaves them random."""
    steps: int = 0
    """Then, optimizer steps on hidden words (BERT, 1810.04805): a few hundred change little, many thousands much."""
    batch_size: int = 32
    """Rows of model.length tokens per step."""
    lr: float = 1.5e-3
    """Peak learning rate of these steps."""

    def __post_init__(self) -> None:
        for name in ("window", "steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"pretrain.{name} is {getattr(self, name)}; it must not be negative.")


@dataclass(frozen=True)
class Config:
    """Options of the recipe."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source="wikipedia,lee,bible"))
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(vocabulary=8000))
    model: ModelConfig = field(default_factory=lambda: ModelConfig(layers=2, length=128))
    pooling: Pooling = "mean"
    """How tokens become one vector: mean, cls, max or lasttoken."""
    sentence_length: int = 48
    """Tokens of a text that are read in training; the published model reads model.length of them."""
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    task: object = field(default_factory=SimCSEConfig)
    """Options of the method that was named."""
    eda: EDAConfig = field(default_factory=EDAConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


@dataclass(frozen=True)
class Method:
    """How a method is built, and what rows it learns from."""

    build: Callable[..., SentenceTask]
    rows: Callable[[Rows, DataConfig], Rows]


def sentences_or_texts(rows: Rows, data: DataConfig) -> Rows:
    """The sentences of documents; rows of several texts as they are."""
    return passages(rows, "sentence", _SHORTEST) if len(rows.texts[0]) == 1 else rows


def with_negatives(rows: Rows, data: DataConfig) -> Rows:
    """Rows of two texts as `negatives_or_pairs`; others as `sentences_or_texts`."""
    return negatives_or_pairs(rows) if len(rows.texts[0]) == 2 else sentences_or_texts(rows, data)


def negatives_or_pairs(rows: Rows) -> Rows:
    """Rows of two texts with a hard negative; as they are where most have none, being alone in their document (users'
    pairs without data.id_column)."""
    found = hard_negatives(rows)
    return found if 2 * len(found) >= len(rows) else rows


def labelled_pairs(rows: Rows, data: DataConfig) -> Rows:
    """Pairs with the label of `data.label_column`; without one, translations and what only stands beside them."""
    return rows if data.label_column else same_or_not(rows)


def scored_pairs(rows: Rows, data: DataConfig) -> Rows:
    """Pairs with the score of `data.score_column`; without one, graded by where the second text stands. Raises
    ValueError for scores that no cosine can reach."""
    if not data.score_column:
        return graded(rows)
    scores = [score for score in rows.scores if score is not None]
    if scores and (min(scores) < -1 or max(scores) > 1):
        raise ValueError(
            f"data.score_column {data.score_column!r} has scores from {min(scores):g} to {max(scores):g}, but cosines "
            f"lie between -1 and 1: divide them by {max(map(abs, scores)):g}, say, in the table."
        )
    return rows


def neighbours(count: int) -> Callable[[Rows, DataConfig], Rows]:
    """`count` sentences that follow one another in a document; rows that bring that many texts as they are."""

    def cut(rows: Rows, data: DataConfig) -> Rows:
        if len(rows.texts[0]) not in (1, count):
            raise ValueError(
                f"data.source {data.source} has {len(rows.texts[0])} texts in a row; give documents, or {count} "
                "sentences that follow one another."
            )
        return consecutive(passages(rows, "sentence", _SHORTEST), count) if len(rows.texts[0]) == 1 else rows

    return cut


METHODS: dict[type, Method] = {
    SimCSEConfig: Method(SimCSE, with_negatives),
    SBERTConfig: Method(SBERT, labelled_pairs),
    QuickThoughtConfig: Method(QuickThought, neighbours(2)),
    SkipThoughtConfig: Method(SkipThought, neighbours(3)),
    ISBertConfig: Method(ISBert, sentences_or_texts),
    ConSERTConfig: Method(ConSERT, sentences_or_texts),
    CERTConfig: Method(CERT, sentences_or_texts),
}


def preset(name: str, task: object, steps: int, source: str = "wikipedia,lee,bible", **train: Any) -> Config:
    """Defaults of one method: a few minutes on two cores."""
    options: dict[str, Any] = {"batch_size": 64, "lr": 3e-4, "weight_decay": 0.01, "evaluate_every": max(1, steps // 4)}
    out = Path("runs") / name
    return Config(DataConfig(source=source), task=task, train=TrainConfig(out=out, steps=steps, **options | train))


PRESETS = {
    "simcse": preset("simcse", SimCSEConfig(), 100),
    "simcse-supervised": preset("simcse-supervised", SimCSEConfig(), 150, "verses"),
    "sbert": preset("sbert", SBERTConfig(), 200, "verses"),
    "sbert-regression": preset("sbert-regression", SBERTConfig(objective="regression"), 200, "verses"),
    "quick-thought": preset("quick-thought", QuickThoughtConfig(), 300, lr=5e-4),
    "skip-thought": preset("skip-thought", SkipThoughtConfig(), 150, lr=5e-4),
    "is-bert": preset("is-bert", ISBertConfig(), 200, lr=5e-4),
    "cert": preset("cert", CERTConfig(), 300, "verses", lr=5e-4),
    "eda": replace(preset("eda", ConSERTConfig("none", "none"), 300, lr=5e-4), eda=EDAConfig(share=0.1)),
    "cutoff": preset("cutoff", ConSERTConfig(), 300, lr=5e-4),
}


def refuse_lone_rows(config: Config, processes: int) -> None:
    """A method that compares the rows of a batch needs two on every process, which should be said before training."""
    method = METHODS[type(config.task)].build
    if getattr(method, "coupled", False) and config.train.batch_size < 2 * processes:
        raise ValueError(
            f"train.batch_size {config.train.batch_size} gives each of {processes} processes one row, and there is "
            f"nothing to compare it with; make it {2 * processes} or more."
        )


def refuse_early(config: Config) -> None:
    """More dimensions than the vectors have, which should be said before training."""
    options, model = config.eval, config.model
    if options.post != "whitening" or not options.dimensions:
        return
    width = model.width
    if model.start_from:
        try:
            width = getattr(AutoConfig.from_pretrained(model.start_from), "hidden_size", options.dimensions)
        except (OSError, ValueError):
            return  # build_model says what is wrong with it
    if options.dimensions > width:
        raise ValueError(f"eval.dimensions is {options.dimensions}, but the vectors have {width}; lower it.")


def form(config: Config, rows: Rows) -> str:
    """Which form of SimCSE `rows` make, in words; nothing of other methods.

    Raises:
        ValueError: where both views of a row would be the same.
    """
    if not isinstance(config.task, SimCSEConfig):
        return ""
    count = len(rows.texts[0])
    if count == 1 and not config.model.dropout:
        raise ValueError("model.dropout is 0, so that both views of a sentence would be the same; raise it.")
    if count == 1:
        return "SimCSE is unsupervised here: a row is one text, read twice."
    more = " and a hard negative" if count > 2 else ""
    return f"SimCSE is supervised here: a row is a text, one that belongs to it{more}."


def _refuse_none(config: Config, rows: Rows) -> None:
    if not len(rows):
        raise ValueError(
            f"data.source {config.data.source!r} leaves nothing to learn from: its texts are too short, or are what is "
            "judged (eval.pairs, eval.scored); name others."
        )


def build_task(config: Config, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> SentenceTask:
    """The task around `encoder`; weights of its own come from torch's global generator."""
    method = METHODS[type(config.task)]
    return method.build(encoder, tokenizer, config.model.length, config.task, config.pooling, config.model.dropout)


def training_rows(config: Config, rows: Rows) -> Rows:
    """What the method learns from."""
    options = config.task
    _refuse_none(config, rows)
    regress = isinstance(options, SBERTConfig) and options.objective == "regression"
    found = (scored_pairs if regress else METHODS[type(options)].rows)(rows, config.data)
    _refuse_none(config, found)
    if regress:
        return found
    if isinstance(options, SBERTConfig):
        classes = len({label for label in found.labels if label is not None})
        if None in found.labels or classes > options.classes:
            raise ValueError(
                f"task.classes is {options.classes}, but the rows have {classes} labels or lack some; see "
                "data.label_column."
            )
    return found


def build_collate(config: Config, tokenizer: PreTrainedTokenizerBase) -> Any:
    """What makes batches of those rows; labels and scores go to the methods that learn from them only."""
    options = config.task
    classify = isinstance(options, SBERTConfig) and options.objective == "classification"
    regress = isinstance(options, SBERTConfig) and options.objective == "regression"
    length = min(config.sentence_length, config.model.length)
    collate = TextsCollate(tokenizer, length, labels=classify, scores=regress)
    return EDACollate(collate, config.eda) if config.eda.share else collate


def encoder_of(task: SentenceTask) -> Encode:
    """Texts to vectors as published."""
    return lambda texts: encode_texts(task.published(), task.tokenizer, texts, task.length)


def identity(
    config: Config, data: TextSet, barred: frozenset[str], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """What decides the weights besides the training options. barred: the texts that were kept from training."""
    parts = {"model": config.model, "task": config.task, "pretrain": config.pretrain, "eda": config.eda}
    named = {name: asdict(part) for name, part in parts.items()}  # type: ignore[call-overload]
    known: dict[str, Any] = {"method": type(config.task).__name__, "pooling": config.pooling, "data": data.fingerprint}
    known |= {"sentence_length": config.sentence_length, "tokenizer": digest(tokenizer.get_vocab())}
    return {**named, **known, "barred": digest(sorted(barred))}
