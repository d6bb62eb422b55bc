"""What word vectors are judged by: people's opinion of pairs of words, and analogies; and baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD

from evaluation.analogies import analogy_accuracy
from evaluation.report import Column, Row
from evaluation.word_similarity import word_similarity
from evaluation.word_vectors import NamedVectors
from modalities.text.cooccurrence import co_occurrences
from modalities.text.vocabulary import Vocabulary
from modalities.text.word_tests import analogies, judged_pairs

COLUMNS = [
    Column("wordsim", "WordSim-353, Spearman", percent=False),
    Column("simlex", "SimLex-999, Spearman", percent=False),
    Column("add", "analogies, 3CosAdd"),
    Column("mul", "analogies, 3CosMul"),
    Column("syntactic", "of grammar, 3CosAdd"),
    Column("semantic", "of meaning, 3CosAdd"),
]


@dataclass(frozen=True)
class EvalConfig:
    """What the vectors are compared with, and what is shown of them."""

    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    classic: bool = True
    """Compare with a truncated SVD of positive pointwise mutual information."""
    window: int = 5
    """Window of the classic vectors."""
    shown: str = "king,water,city,war,music,father,government,three,computer,red"
    """Words whose neighbours the card shows, separated by commas; unknown ones are left out."""
    mapped: int = 300
    """Words on the map: the most frequent ones without the 100 before them."""

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise ValueError(f"eval.seeds is {self.seeds}; it must not be negative.")
        for name in ("window", "mapped"):
            if getattr(self, name) < 1:
                raise ValueError(f"eval.{name} is {getattr(self, name)}; it must be at least 1.")


@cache
def _tests() -> tuple[list[tuple[str, str, float]], list[tuple[str, str, float]], dict]:
    return judged_pairs("wordsim353"), judged_pairs("simlex999"), analogies()


def measure(vectors: NDArray[np.float32], vocabulary: Vocabulary) -> dict[str, float]:
    """Correlations with people's judgements, and the share of analogies solved, over what the vocabulary covers."""
    found = NamedVectors.of(vectors, vocabulary.words)
    wordsim, simlex, questions = _tests()
    scores = {
        "wordsim": word_similarity(found, wordsim)["spearman"],
        "simlex": word_similarity(found, simlex)["spearman"],
    }
    added, multiplied = analogy_accuracy(found, questions), analogy_accuracy(found, questions, "mul")
    scores |= {"add": added["total"]["accuracy"], "mul": multiplied["total"]["accuracy"]}
    scores |= {name: added[name]["accuracy"] for name in ("syntactic", "semantic")}
    return {name: float(value) for name, value in scores.items() if np.isfinite(value)}


def explain(vocabulary: Vocabulary) -> str:
    """What the columns mean, and how much of each test the vocabulary covers."""
    blank = NamedVectors.of(np.ones((len(vocabulary), 2)), vocabulary.words)
    wordsim, simlex, questions = _tests()
    known = {name: word_similarity(blank, pairs) for name, pairs in (("w", wordsim), ("s", simlex))}
    asked = [all(blank.find(word) is not None for word in each) for some in questions.values() for each in some]
    return (
        f"Spearman: rank correlation of cosines with people's judgements of {known['w']['pairs']:,} of {len(wordsim)} "
        f"pairs of related and {known['s']['pairs']:,} of {len(simlex)} pairs of similar words; analogies: share right "
        f"of {sum(asked):,} of {len(asked):,} questions. The rest have words that are too rare in these texts."
    )


def before_training(vocabulary: Vocabulary, width: int, cfg: EvalConfig) -> list[Row]:
    """Vectors as word2vec starts with them, one per seed."""
    found = [
        measure(np.random.default_rng(seed).uniform(-0.5, 0.5, (len(vocabulary), width)), vocabulary)
        for seed in range(cfg.seeds)
    ]
    return [Row("random initialisation", {name: [each[name] for each in found] for name in found[0]})] if found else []


def classic(documents: Sequence[Sequence[str]], vocabulary: Vocabulary, cfg: EvalConfig) -> list[Row]:
    """PPMI and SVD as Levy, Goldberg and Dagan (TACL 2015) recommend them, in a hundred dimensions."""
    if not cfg.classic:
        return []
    associations = ppmi(co_occurrences(documents, vocabulary, cfg.window))
    width = min(100, len(vocabulary) - 1)
    svd = TruncatedSVD(width, random_state=0).fit(associations)
    # Vectors are the left singular ones times the roots of the singular values, not the values themselves.
    vectors = svd.transform(associations) / np.sqrt(np.maximum(svd.singular_values_, 1e-12))
    return [Row("PPMI and SVD", dict(measure(vectors.astype(np.float32), vocabulary)))]


def ppmi(counts: csr_array, power: float = 0.75) -> csr_array:
    """Positive pointwise mutual information, (c, c): how much more often than by chance two words met, as a logarithm;
    counts of the context to `power`, so that rare words do not win."""
    found = counts.tocoo()
    words = counts.sum(axis=1)
    context = counts.sum(axis=0) ** power
    ratio = found.data * context.sum() / (words[found.row] * context[found.col])
    return csr_array((np.maximum(np.log(ratio), 0), (found.row, found.col)), shape=counts.shape)
