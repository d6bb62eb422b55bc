"""Pairs of words that belong together: Mikolov et al. 2013, arXiv 1310.4546, section 4.

A pair's score is (count(ab) - delta) / (count(a) count(b)), times the number of words in the text as in the authors'
word2phrase, so that one threshold serves texts of any length: without delta, how many times more often than by chance
the two stand together.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

JOINT = "_"


def join_phrases(documents: Sequence[Sequence[str]], passes: int, threshold: float, delta: int = 5) -> list[list[str]]:
    """Documents in which pairs that score above `threshold` are one word; a second pass finds triples, and so on.

    delta: discount, so that two rare words that met by accident are no phrase.
    """
    joined = [list(document) for document in documents]
    for _ in range(passes):
        phrases = find_phrases(joined, threshold, delta)
        joined = [join(document, phrases) for document in joined]
    return joined


def find_phrases(documents: Sequence[Sequence[str]], threshold: float, delta: int = 5) -> dict[tuple[str, str], float]:
    """{pair: score} of the pairs that score above `threshold`."""
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for document in documents:
        words.update(document)
        pairs.update(pairwise(document))
    total = sum(words.values())
    scores = {
        (a, b): (count - delta) / (words[a] * words[b]) * total for (a, b), count in pairs.items() if count > delta
    }
    return {pair: score for pair, score in scores.items() if score > threshold}


def join(document: Sequence[str], phrases: dict[tuple[str, str], float]) -> list[str]:
    """Pairs in `phrases` made one word, from left to right; a word is in one pair at most."""
    joined: list[str] = []
    place = 0
    while place < len(document):
        two = place + 1 < len(document) and (document[place], document[place + 1]) in phrases
        joined.append(JOINT.join(document[place : place + 2]) if two else document[place])
        place += 2 if two else 1
    return joined
