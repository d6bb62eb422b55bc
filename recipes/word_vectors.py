"""Vectors of words: word2vec (Mikolov et al. 2013, arXiv 1310.4546) and GloVe (Pennington et al. 2014).

accelerate launch recipes/word_vectors.py                          # skip-gram with negative sampling
accelerate launch recipes/word_vectors.py cbow                     # or another preset; --help lists them
accelerate launch recipes/word_vectors.py --data.source my.txt --data.unit paragraph --words.phrase-passes 2

Leaves a model for AutoModel, and vectors.txt and vectors.bin for gensim, spaCy and others.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from accelerate.utils import set_seed

from evaluation.report import Row
from modalities.text.config import DataConfig
from modalities.text.cooccurrence import co_occurrences, collate_entries, entries
from modalities.text.glove import GloVe, GloVeConfig
from modalities.text.rows import Rows
from modalities.text.sources import load
from modalities.text.vocabulary import VocabularyConfig, build_vocabulary
from modalities.text.word2vec import Word2Vec, Word2VecConfig
from modalities.text.word_runs import RunsCollate, read_words, word_runs
from modalities.text.word_task import WordTask
from recipes.run import Run, launch
from recipes.word_vectors_card import draw_pictures, write_card
from recipes.word_vectors_measure import COLUMNS, EvalConfig, before_training, classic, explain, measure
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the word vectors."""

    method: Literal["word2vec", "glove"] = "word2vec"
    """word2vec or glove; the options of the other have no effect."""
    data: DataConfig = field(default_factory=lambda: DataConfig(source="wikipedia,bible,lee", held_out=0))
    words: VocabularyConfig = field(default_factory=VocabularyConfig)
    word2vec: Word2VecConfig = field(default_factory=Word2VecConfig)
    glove: GloVeConfig = field(default_factory=GloVeConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/word-vectors"),
            batch_size=64,
            epochs=20,
            lr=0.025,
            schedule="linear",
            warmup=0.0,
            final_lr=0.004,
            precision="fp32",
            evaluate_every=100,
            save_every=400,
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


def _named(name: str, lr: float, word2vec: Word2VecConfig) -> Config:
    base = Config(word2vec=word2vec)
    return replace(base, train=replace(base.train, out=Path(f"runs/{name}"), lr=lr))


PRESETS = {
    "skip-gram": _named("skip-gram", 0.025, Word2VecConfig()),
    # The mean's gradient is shared among the words of the context, so each moves less: a higher rate makes up for it.
    "cbow": _named("cbow", 0.075, Word2VecConfig(cbow=True)),
    "skip-gram-hs": _named("skip-gram-hs", 0.025, Word2VecConfig(hierarchical=True, block=8)),
    "cbow-hs": _named("cbow-hs", 0.075, Word2VecConfig(cbow=True, hierarchical=True, block=8)),
    "glove": replace(
        # In a text of a million words few pairs meet a hundred times: at the paper's x_max nearly all weigh nothing.
        Config(method="glove", glove=GloVeConfig(most=10)),
        train=replace(
            Config().train,
            out=Path("runs/glove"),
            batch_size=65_536,
            epochs=25,
            lr=0.05,
            schedule="constant",
        ),
    ),
}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    with run.accelerator.main_process_first():
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}")
    if not isinstance(data.train, Rows):
        raise ValueError("data.stream cannot be used: a vocabulary needs all texts at hand; leave it out.")
    documents = read_words(data.train, config.words)
    vocabulary = build_vocabulary(documents, config.words.min_count)
    run.say(f"{sum(map(len, documents)):,} words, {len(vocabulary):,} of them different and frequent enough")
    set_seed(config.train.seed)
    if config.method == "glove":
        task: WordTask = GloVe(vocabulary, config.glove, config.words.lower)
        rows = entries(co_occurrences(documents, vocabulary, config.glove.window))
        collate = collate_entries
    else:
        task = Word2Vec(vocabulary, config.word2vec, config.words.lower)
        rows = word_runs(documents, vocabulary, config.words.run)
        collate = RunsCollate(rows.length)
    identity = {
        "method": asdict(getattr(config, config.method)),
        "words": asdict(config.words),
        "data": data.fingerprint,
        "vocabulary": digest(vocabulary.places),
    }
    task = fit(task, rows, collate, config.train, lambda task, _: measure(task.vectors(), vocabulary), identity)
    if not run.main:
        return

    task.save(run.out / "model")
    inputs = {"input_ids": torch.arange(len(vocabulary) + 1)[-64:][None]}
    write_check(run.out, task.export(), inputs, {"model": "AutoModel", "processor": "AutoTokenizer"})
    vectors = task.vectors()
    ours = Row("this run", dict(measure(vectors, vocabulary)))
    others = [*before_training(vocabulary, vectors.shape[1], config.eval), *classic(documents, vocabulary, config.eval)]
    note = explain(vocabulary)
    table = run.report([*others, ours], COLUMNS, ours.name, note)
    pictures = draw_pictures(run.out, task, config.eval, data.credit)
    write_card(run, task, data, f"{table}\n\n{note}", ours.metrics, pictures)
    run.say(f"Saved {run.out / 'model'}: for AutoModel, and vectors.bin for gensim; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
