"""Skip-gram with negative sampling against gensim, words per CPU second of training on one thread.

    python -m benchmarks.word2vec [--epochs 15] [--pairs 5]

Both read the same 1.2 million words (Wikipedia articles, the Bible, news: what packages carry) in the same runs of at
most 1,000, at the same settings: 100 dimensions, window 5, 5 negatives, subsampling at 1e-3, words seen 5 times, rate
0.025 falling to 0.0001. Each pair has a seed of its own and each measurement is a fresh process, the two taking turns.
Time is everything between the vocabulary and the vectors, turning words into numbers included. Words are counted as
they stand in the text, before any is left out, as gensim counts them.

The gate: over the seeds, ours must not fall behind in any test of words by more than the spread of the two, or the
ratio is void.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.paired import Numbers, measure_apart
from modalities.text.config import DataConfig
from modalities.text.sources import load
from modalities.text.vocabulary import Vocabulary, VocabularyConfig, build_vocabulary
from modalities.text.word2vec import Word2Vec, Word2VecConfig
from modalities.text.word_runs import RunsCollate, read_words, word_runs
from recipes.word_vectors_measure import measure
from trainers.config import TrainConfig
from trainers.loop import fit

Vectors = NDArray[np.float32]
Trained = tuple[float, Callable[[Vocabulary], Vectors]]
WORDS = VocabularyConfig()
QUALITY = ("wordsim", "simlex", "add")
RATE, LAST = 0.025, 1e-4


def ours(runs: list[list[str]], vocabulary: Vocabulary, epochs: int, seed: int, folder: Path) -> Trained:
    """CPU seconds per word read, and the vectors."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    start = time.process_time()
    rows = word_runs(runs, vocabulary, WORDS.run)
    cfg = TrainConfig(
        out=folder, batch_size=64, epochs=epochs, lr=RATE, schedule="linear", warmup=0.0, final_lr=LAST / RATE,
        precision="fp32", save_every=0, tracker="none", seed=seed,
    )  # fmt: skip
    task = fit(Word2Vec(vocabulary, Word2VecConfig()), rows, RunsCollate(rows.length), cfg)
    seconds = time.process_time() - start
    share = len(rows) // cfg.batch_size * cfg.batch_size / len(rows)  # an epoch is whole batches
    return seconds / (epochs * share * sum(map(len, runs))), lambda _: task.vectors()


def gensim(runs: list[list[str]], vocabulary: Vocabulary, epochs: int, seed: int, folder: Path) -> Trained:
    """The same of gensim with one worker."""
    from gensim.models import Word2Vec as Peer  # here alone: what it loads must not slow the other down

    peer = Peer(
        vector_size=100, window=5, sg=1, negative=5, ns_exponent=0.75, sample=1e-3, min_count=WORDS.min_count,
        alpha=RATE, min_alpha=LAST, workers=1, seed=seed,
    )  # fmt: skip
    peer.build_vocab(runs)
    words = sum(map(len, runs))
    start = time.process_time()
    peer.train(runs, total_examples=len(runs), total_words=words, epochs=epochs)
    seconds = time.process_time() - start
    return seconds / (epochs * words), lambda vocabulary: np.stack([peer.wv[word] for word in vocabulary.words])


FORMS = {"gensim": gensim, "ours": ours}


def run(form: str, epochs: int, seed: int) -> None:
    """One measurement, printed for `measure_apart`."""
    documents = read_words(load(DataConfig(source="wikipedia,bible,lee", held_out=0)).train, WORDS)
    runs = [document[i : i + WORDS.run] for document in documents for i in range(0, len(document), WORDS.run)]
    vocabulary = build_vocabulary(runs, WORDS.min_count)
    with tempfile.TemporaryDirectory() as folder:
        seconds, vectors = FORMS[form](runs, vocabulary, epochs, seed, Path(folder))
    print(json.dumps({"rate": 1 / seconds} | measure(vectors(vocabulary), vocabulary)))


def behind(theirs: list[Numbers], mine: list[Numbers]) -> list[str]:
    """Tests in which ours is worse by more than the spread, in words; every test is printed."""
    worse = []
    for name in QUALITY:
        (a, b), (s, t) = zip(*map(_spread, ([n[name] for n in theirs], [n[name] for n in mine])), strict=True)
        print(f"{name}: gensim {a:.3f} ± {s:.3f}, ours {b:.3f} ± {t:.3f}")
        if b < a - (s**2 + t**2) ** 0.5:
            worse.append(name)
    return worse


def _spread(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15, help="passes over the text")
    parser.add_argument("--pairs", type=int, default=5, help="seeds, one measurement of each form for each")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.form:
        run(options.form, options.epochs, options.seed)
        return
    print(f"{options.epochs} epochs, one thread, torch {torch.__version__}, {options.pairs} pairs")
    theirs, mine = [], []
    for seed in range(options.pairs):
        for form, found in (("gensim", theirs), ("ours", mine)):
            some = ("--epochs", str(options.epochs), "--seed", str(seed))
            found.append(measure_apart("benchmarks.word2vec", form, *some))
        print(f"gensim {theirs[-1]['rate']:,.0f} words/s   ours {mine[-1]['rate']:,.0f} words/s", flush=True)
    if worse := behind(theirs, mine):
        raise SystemExit(f"Ours falls behind in {', '.join(worse)}; the ratio is void.")
    ratios = [b["rate"] / a["rate"] for a, b in zip(theirs, mine, strict=True)]
    print(f"words per CPU second: ours / gensim = {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
          f"{max(ratios):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
