"""Analogies between words: a is to b as c is to whom?

3CosAdd asks for the word nearest to b - a + c (Mikolov et al. 2013, arXiv 1301.3781), 3CosMul for the largest
cos(d, b) cos(d, c) / cos(d, a) (Levy and Goldberg, CoNLL 2014).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from evaluation.arrays import Codes, Floats, row_chunks
from evaluation.ties import TIE
from evaluation.word_vectors import NamedVectors

Question = tuple[str, str, str, str]

_EPSILON = 1e-3  # keeps 3CosMul from dividing by zero, as Levy and Goldberg set it


def analogy_accuracy(
    vectors: NamedVectors, sections: Mapping[str, Sequence[Question]], method: Literal["add", "mul"] = "add"
) -> dict[str, dict[str, float]]:
    """Accuracy, coverage (share of questions whose four words all have vectors) and number of questions asked, by
    section and for "semantic", "syntactic" (sections whose names start with "gram") and "total".

    The three words of a question are no answers. Accuracy is over the questions asked, nan where there are none. Where
    several words come out equally best, the question counts by the chance of picking the right one.
    """
    scores: dict[str, dict[str, float]] = {}
    sums = {name: np.zeros(3) for name in ("semantic", "syntactic", "total")}
    for name, questions in sections.items():
        known = [[vectors.find(word) for word in question] for question in questions]
        asked = np.array([row for row in known if None not in row], dtype=np.intp).reshape(-1, 4)
        found = np.array([_right(vectors.unit, asked, method).sum(), len(asked), len(questions)])
        scores[name] = _score(*found)
        sums["total"] += found
        sums["syntactic" if name.startswith("gram") else "semantic"] += found
    return scores | {name: _score(*found) for name, found in sums.items()}


def _score(right: float, asked: float, given: float) -> dict[str, float]:
    return {
        "accuracy": float(right / asked) if asked else float("nan"),
        "coverage": float(asked / given) if given else 0.0,
        "asked": int(asked),
    }


def _right(unit: Floats, questions: Codes, method: str) -> Floats:
    """Chance that each question (n, 4) is answered right, (n,)."""
    answers = np.zeros(len(questions))
    for rows in row_chunks(len(questions), 3 * len(unit)):
        a, b, c, d = questions[rows].T
        if method == "add":
            scores = (unit[b] - unit[a] + unit[c]) @ unit.T  # (chunk, words)
        else:
            near_a, near_b, near_c = ((1 + unit[word] @ unit.T) / 2 for word in (a, b, c))
            scores = near_b * near_c / (near_a + _EPSILON)
        place = np.arange(len(a))
        truth = scores[place, d]
        for word in (a, b, c):
            scores[place, word] = -np.inf
        better = (scores > truth[:, None] + TIE).sum(axis=1)
        tied = (np.abs(scores - truth[:, None]) <= TIE).sum(axis=1)
        in_question = (d == a) | (d == b) | (d == c)  # no answer, however near
        answers[rows] = np.where((better == 0) & ~in_question, 1 / np.maximum(tied, 1), 0.0)
    return answers
