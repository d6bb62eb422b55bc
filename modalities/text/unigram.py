"""Training of the Unigram model: Kudo 2018, arXiv 1804.10959.

`tokenizers` runs such models, but its trainer adds up words in the order of a hash table that differs from process to
process, and so do the tokens that it ends with. Here sums and ties have one order. All words are segmented at once: an
edge is a piece at a place of a word, and the probability of reaching a place is summed edge by edge in array form.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LONGEST = 16  # characters of a piece
_LONGEST_WORD = 64  # longer words are learnt from in parts
_SEEDS = 8  # candidates for each piece that is to be left
_KEPT = 0.75  # share of the candidates that survives a round
_UPDATES = 2  # of the probabilities in a round
_RAREST = 0.5  # a piece used less often than that is not worth a place


def train_unigram(words: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """The `size` pieces (fewer where `words` have no more) that explain `words`, {word: count}, best, each with its
    log-probability: most probable first. Every character is kept as a piece. All parts of words are held in memory."""
    parts = Counter[str]()
    for word, count in words.items():
        for start in range(0, len(word), _LONGEST_WORD):
            parts[word[start : start + _LONGEST_WORD]] += count
    ordered = sorted(parts)
    counts = np.array([parts[word] for word in ordered], dtype=np.float64)
    pieces, uses = _candidates(ordered, counts, _SEEDS * size)
    lengths = np.array([len(piece) for piece in pieces])
    lattice, others = Lattice.of(ordered, pieces), Lattice.of(pieces, pieces, whole=False)
    kept = np.ones(len(pieces), dtype=bool)
    while True:
        for _ in range(_UPDATES):
            uses = lattice.expected_uses(_log_shares(uses, kept), counts)
        kept = kept & ((lengths == 1) | (uses >= _RAREST))
        if kept.sum() > size:
            log_shares = _log_shares(uses, kept)
            # What each would cost if it were gone: its uses times how much less probable the next best spelling is.
            # Rounded, for a difference in the last bits must not decide between pieces that are worth the same.
            cost = [float(f"{c:.9g}") for c in (uses * (log_shares - others.log_best(log_shares))).tolist()]
            ranked = sorted(np.flatnonzero(kept & (lengths > 1)).tolist(), key=lambda i: (-cost[i], pieces[i]))
            characters = int((lengths == 1).sum())
            kept[ranked[max(0, max(size, int(_KEPT * kept.sum())) - characters) :]] = False
        lattice, others = lattice.keeping(kept), others.keeping(kept)
        if kept.sum() <= max(size, (lengths == 1).sum()):
            break
    log_shares = _log_shares(uses, kept)
    found = [(pieces[i], float(log_shares[i])) for i in np.flatnonzero(kept)]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def _candidates(words: list[str], counts: Floats, size: int) -> tuple[list[str], Floats]:
    """Every character, and the parts of words that cover most text."""
    found = Counter[str]()
    for word, count in zip(words, counts.tolist(), strict=True):
        for start in range(len(word)):
            for stop in range(start + 1, min(len(word), start + _LONGEST) + 1):
                found[word[start:stop]] += count
    characters = sorted(piece for piece in found if len(piece) == 1)
    longer = sorted((p for p, n in found.items() if len(p) > 1 and n > 1), key=lambda p: (-found[p] * len(p), p))
    pieces = characters + longer[: max(0, size - len(characters))]
    return pieces, np.array([found[piece] for piece in pieces])


def _log_shares(uses: Floats, kept: npt.NDArray[np.bool_]) -> Floats:
    """Of the pieces that are kept; those that are not have no edge, so that theirs do not matter."""
    smoothed = np.maximum(uses, _RAREST)
    log_shares: Floats = np.log(smoothed / smoothed[kept].sum())
    return log_shares


@dataclass(frozen=True)
class Lattice:
    """All ways to write some words with some pieces: one edge for each piece at each place of each word.

    Nodes are the places between characters, those of word w from first[w] to last[w]. Edges are in the order of the
    place in the word at which they stop, then of the node; bounds[k] is the first that stops behind k + 1 characters.
    """

    first: Ints
    last: Ints
    start: Ints
    stop: Ints
    piece: Ints
    bounds: Ints

    @classmethod
    def of(cls, words: list[str], pieces: list[str], whole: bool = True) -> "Lattice":
        """whole: whether a word of several characters may be written as one piece."""
        numbers = {piece: i for i, piece in enumerate(pieces)}
        longest = max(map(len, pieces))
        edges: list[list[tuple[int, int, int]]] = [[] for _ in range(max(map(len, words)))]
        lengths = np.array([len(word) for word in words], dtype=np.int64)
        first = np.cumsum(lengths + 1) - lengths - 1
        for word, origin in zip(words, first.tolist(), strict=True):
            for stop in range(1, len(word) + 1):
                for start in range(max(0, stop - longest), stop):
                    number = numbers.get(word[start:stop])
                    if number is not None and (whole or stop - start < len(word) or len(word) == 1):
                        edges[stop - 1].append((origin + start, origin + stop, number))
        table = np.array([edge for group in edges for edge in group], dtype=np.int64)  # (edges, 3)
        bounds = np.cumsum([0, *map(len, edges)])
        return cls(first, first + lengths, table[:, 0], table[:, 1], table[:, 2], bounds)

    def keeping(self, pieces: npt.NDArray[np.bool_]) -> "Lattice":
        """Without the edges of other pieces."""
        kept = pieces[self.piece]
        bounds = np.concatenate([[0], np.cumsum(kept)])[self.bounds]
        return Lattice(self.first, self.last, self.start[kept], self.stop[kept], self.piece[kept], bounds)

    def expected_uses(self, log_shares: Floats, counts: Floats) -> Floats:
        """How often each piece is used, over all ways to write each word weighted by their probability: (pieces,).

        counts: of the words.
        """
        weight = log_shares[self.piece]  # (edges,)
        ahead = self._forward(weight, np.logaddexp)
        behind = np.full(len(ahead), -np.inf)
        behind[self.last] = 0.0
        # Of the edges that stop behind the same number of characters no two start at one node.
        for group in reversed(self._groups()):
            start, there = self.start[group], behind[self.stop[group]] + weight[group]
            behind[start] = np.logaddexp(behind[start], there)
        nodes = self.last - self.first + 1
        total, often = np.repeat(ahead[self.last], nodes), np.repeat(counts, nodes)  # (nodes,) each
        share = np.exp(ahead[self.start] + weight + behind[self.stop] - total[self.stop])
        uses = np.bincount(self.piece, share * often[self.stop], len(log_shares))
        return np.asarray(uses, dtype=np.float64)

    def log_best(self, log_shares: Floats) -> Floats:
        """Log-probability of the most probable way to write each word: (words,)."""
        return self._forward(log_shares[self.piece], np.maximum)[self.last]

    def _forward(self, weight: Floats, join: np.ufunc) -> Floats:
        """`join` of the weights of all ways from a word's start to each node: (nodes,)."""
        ahead = np.full(int(self.last[-1]) + 1, -np.inf)
        ahead[self.first] = 0.0
        for group in self._groups():
            stop, there = self.stop[group], ahead[self.start[group]] + weight[group]
            runs = np.flatnonzero(np.diff(stop, prepend=-1))  # where the edges of the next node begin
            ahead[stop[runs]] = join.reduceat(there, runs)
        return ahead

    def _groups(self) -> list[slice]:
        bounds = self.bounds.tolist()
        return [slice(low, high) for low, high in pairwise(bounds) if low < high]
