"""Kneser-Ney against loops over its definition, and against what every smoothing must be."""

import math
from collections import defaultdict

import numpy as np
import pytest

from evaluation.kneser_ney import KneserNey

Gram = tuple[int, ...]


def draw(vocabulary: int, documents: int = 12, length: int = 40, seed: int = 0) -> list[list[int]]:
    """Documents that begin with 0, of lengths from one token on, in which a few tokens are frequent."""
    chance = np.random.default_rng(seed)
    weights = 1 / np.arange(1, vocabulary)
    lengths = chance.integers(0, length, documents)
    return [[0, *chance.choice(np.arange(1, vocabulary), size, p=weights / weights.sum()).tolist()] for size in lengths]


class Loops:
    """The definition of Chen and Goodman 1999, one n-gram at a time."""

    def __init__(self, documents: list[list[int]], order: int, vocabulary: int, continuation: bool = True) -> None:
        self.vocabulary = vocabulary
        self.counts: list[dict[Gram, int]] = []
        for k in range(1, order + 1):
            counts: dict[Gram, int] = defaultdict(int)
            before: dict[Gram, set[int]] = defaultdict(set)
            for document in documents:
                for end in range(max(1, k - 1), len(document)):
                    gram = tuple(document[end - k + 1 : end + 1])
                    if k == order or end == k - 1 or not continuation:
                        counts[gram] += 1
                    else:
                        before[gram].add(document[end - k])
            for gram, tokens in before.items():
                counts[gram] += len(tokens)
            self.counts.append(counts)
        self.discounts = [self.estimate(list(counts.values())) for counts in self.counts]

    def estimate(self, counts: list[int]) -> list[float]:
        n1, n2, n3, n4 = (counts.count(times) for times in (1, 2, 3, 4))
        if n1 == 0 or n2 == 0 or n3 == 0:
            return [0.0, 0.5, 1.0, 1.5]
        y = n1 / (n1 + 2 * n2)
        found = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return found if all(0 < found[k] <= k for k in (1, 2, 3)) else [0.0, 0.5, 1.0, 1.5]

    def p(self, token: int, history: Gram) -> float:
        shorter = self.p(token, history[1:]) if history else 1 / self.vocabulary
        counts, discounts = self.counts[len(history)], self.discounts[len(history)]
        follow = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == history}
        if not follow:
            return shorter
        total = sum(follow.values())
        left = sum(discounts[min(count, 3)] for count in follow.values())
        count = follow.get(token, 0)
        return (count - discounts[min(count, 3)]) / total + left / total * shorter

    def log_probs(self, document: list[int]) -> list[float]:
        reach = len(self.counts) - 1
        return [
            math.log(self.p(document[end], tuple(document[max(0, end - reach) : end])))
            for end in range(1, len(document))
        ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("vocabulary", [5, 60])
def test_it_is_the_definition_in_loops(order: int, vocabulary: int) -> None:
    seen, unseen = draw(vocabulary), draw(vocabulary, 4, 12, seed=1)
    model, loops = KneserNey(seen, order, vocabulary), Loops(seen, order, vocabulary)
    plain = Loops(seen, order, vocabulary, continuation=False)  # the broken twin: how often, not in how many contexts
    for document in (*seen[:3], *unseen):
        found = model.log_probs(document)
        np.testing.assert_allclose(found, loops.log_probs(document), rtol=0, atol=1e-12)
    apart = [np.abs(model.log_probs(d) - plain.log_probs(d)).max() for d in seen if len(d) > 5]
    assert (max(apart) > 1e-3) == (order > 1)


def test_discounts_are_estimated_and_not_the_usual_ones() -> None:
    loops = Loops(draw(60), 2, 60)
    assert loops.discounts[1] != [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_of_all_tokens_sum_to_one(order: int) -> None:
    seen = draw(30)
    model = KneserNey(seen, order, 30)
    for document in (*seen, *draw(30, 5, 20, seed=2)):
        p = model.distributions(document)
        assert p.shape == (len(document) - 1, 30) and (p > 0).all()
        np.testing.assert_allclose(p.sum(1), 1, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            np.log(p[np.arange(len(p)), document[1:]]), model.log_probs(document), rtol=0, atol=1e-12
        )


def test_a_word_of_one_context_is_unlikely_in_another() -> None:
    # 2 is as frequent as 3, but only ever follows 1; the idea of Kneser and Ney.
    seen = [[0, 1, 2] * 4 + [9, 3, 8, 3, 7, 3, 6, 3]]
    p = KneserNey(seen, 2, 12).distributions([0, 5, 5])[1]
    assert p[3] > 1.5 * p[2]


def test_longer_histories_help_where_they_decide() -> None:
    seen = [[0, *([1, 2, 3, 4, 2, 5] * 20)]]
    losses = [-KneserNey(seen, order, 6).log_probs(seen[0]).mean() for order in (1, 2, 3)]
    assert losses[0] > losses[1] + 0.5 and losses[1] > losses[2] + 0.2


def test_documents_do_not_run_into_each_other() -> None:
    apart = KneserNey([[0, 1, 2], [0, 3, 4]], 2, 5).distributions([0, 2, 2])[1]
    joined = KneserNey([[0, 1, 2, 0, 3, 4]], 2, 5).distributions([0, 2, 2])[1]
    assert apart[0] < joined[0]


@pytest.mark.parametrize(
    ("documents", "order", "words"),
    [
        ([[0, 1]], 0, "order"),
        ([[0], [0]], 2, "second token"),
        ([], 2, "second token"),
        ([[0, 7]], 2, "vocabulary of 5"),
    ],
)
def test_what_cannot_work_is_said(documents: list[list[int]], order: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KneserNey(documents, order, 5)


def test_documents_shorter_than_the_order_are_no_matter() -> None:
    p = KneserNey([[0, 1], [0, 2]], 5, 4).distributions([0, 1, 2, 3, 1])
    np.testing.assert_allclose(p.sum(1), 1, rtol=0, atol=1e-12)
