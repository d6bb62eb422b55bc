"""Word vectors of two translations of one book, mapped onto each other by an orthogonal matrix (Xing et al. 2015;
Conneau et al. 2018, arXiv 1710.04087).

accelerate launch recipes/two_translations.py

The two at hand are both English, the World English Bible and the American Standard Version of 1901: a language and its
elder sister, whose dictionary is the words that both have. Half of it teaches the map, the other half is translated. It
shows the method where nothing has to be downloaded, not how far apart languages may be.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from accelerate.utils import set_seed

from evaluation.procrustes import orthogonal_map, translation_precision
from evaluation.report import Column, Row
from modalities.text.config import DataConfig
from modalities.text.rows import Rows
from modalities.text.sources import load
from modalities.text.vocabulary import VocabularyConfig, build_vocabulary
from modalities.text.word2vec import Word2Vec, Word2VecConfig
from modalities.text.word_runs import RunsCollate, read_words, word_runs
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.loop import fit

COLUMNS = [
    Column("cosine_1", "P@1, cosine"),
    Column("csls_1", "P@1, CSLS"),
    Column("csls_5", "P@5, CSLS"),
]
_TOGETHER = 20  # verses of a document


@dataclass(frozen=True)
class Config:
    """Options of the two translations."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source="verses", held_out=0))
    words: VocabularyConfig = field(default_factory=VocabularyConfig)
    word2vec: Word2VecConfig = field(default_factory=Word2VecConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/two-translations"),
            batch_size=64,
            epochs=15,
            lr=0.025,
            schedule="linear",
            warmup=0.0,
            final_lr=0.004,
            precision="fp32",
            save_every=400,
        )
    )
    seeds: int = 3
    """Random vectors to compare with; 0 for none."""


def main(config: Config) -> None:
    """Train on each text by itself, map, translate."""
    run = Run.begin(config)
    with run.accelerator.main_process_first():
        data = load(config.data)
    if not isinstance(data.train, Rows):
        raise ValueError("data.stream cannot be used: a vocabulary needs all texts at hand; leave it out.")
    if len(data.roles) != 2:
        raise ValueError(f"{data.name} has {len(data.roles)} text(s) a row; data.text_column must name two languages.")
    tasks = []
    for side, role in enumerate(data.roles):
        verses = read_words(replace(data.train, texts=[[texts[side]] for texts in data.train.texts]), config.words)
        documents = [sum(verses[i : i + _TOGETHER], start=[]) for i in range(0, len(verses), _TOGETHER)]  # noqa: RUF017
        vocabulary = build_vocabulary(documents, config.words.min_count)
        runs = word_runs(documents, vocabulary, config.words.run)
        set_seed(config.train.seed + side)  # not the same start: words of like rank would begin alike
        cfg = replace(config.train, out=run.out / role, seed=config.train.seed + side)
        identity = {
            "word2vec": asdict(config.word2vec), "data": data.fingerprint, "vocabulary": digest(vocabulary.places),
        }  # fmt: skip
        task = Word2Vec(vocabulary, config.word2vec, config.words.lower)
        tasks.append(fit(task, runs, RunsCollate(runs.length), cfg, identity=identity))
    if not run.main:
        return
    for role, task in zip(data.roles, tasks, strict=True):
        task.save(run.out / role / "model")
    source, target = tasks
    shared = [word for word in source.vocabulary.words if word in target.vocabulary.places]
    shuffled = np.random.default_rng(0).permutation(shared).tolist()
    pairs = [(source.vocabulary.places[word], target.vocabulary.places[word]) for word in shuffled]
    taught, asked = np.array(pairs[: len(pairs) // 2]), np.array(pairs[len(pairs) // 2 :])
    shapes = [task.vectors().shape for task in tasks]
    random = []
    for seed in range(config.seeds):
        draw = np.random.default_rng(seed)
        random.append(translate(*(draw.normal(size=shape) for shape in shapes), taught, asked))
    rows = [Row("random vectors", {name: [each[name] for each in random] for name in random[0]})] if random else []
    vectors = [task.vectors() for task in tasks]
    rows.append(Row("not mapped", dict(scores(vectors[0][asked[:, 0]], vectors[1], asked[:, 1]))))
    rows.append(Row("this run", dict(translate(*vectors, taught, asked))))
    note = (
        f"P@k: the word itself is among the k nearest of {len(vectors[1]):,} of the other text, for {len(asked):,} "
        f"words that both have; the map was learnt on {len(taught):,} others."
    )
    run.report(rows, COLUMNS, "this run", note)


def translate(source: np.ndarray, target: np.ndarray, taught: np.ndarray, asked: np.ndarray) -> dict[str, float]:
    """Map source (c, d) onto target (k, d) by the pairs `taught` (p, 2), and translate those `asked` (q, 2)."""
    w = orthogonal_map(source[taught[:, 0]], target[taught[:, 1]])
    unit = source[asked[:, 0]] / np.linalg.norm(source[asked[:, 0]], axis=1, keepdims=True)
    return scores(unit @ w, target, asked[:, 1])


def scores(queries: np.ndarray, keys: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Precision of the nearest by cosine and by CSLS."""
    found = {}
    for name, csls in (("cosine", False), ("csls", True)):
        precision = translation_precision(queries, keys, right[:, None].tolist(), csls=csls)
        found |= {f"{name}_{k}": share for k, share in precision.items()}
    return found


PRESETS = {"two-translations": Config()}

if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
