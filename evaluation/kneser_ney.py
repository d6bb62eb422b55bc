"""Interpolated modified Kneser-Ney smoothing of n-grams: Chen and Goodman 1999, Computer Speech and Language 13."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_USUAL = (0.5, 1.0, 1.5)  # where too few n-grams were seen 1, 2, 3 or 4 times to estimate a discount


@dataclass(frozen=True)
class _Order:
    """The m n-grams of one length that were seen, and what follows each history."""

    keys: Ints
    """(m,) number of the history * vocabulary + last token, ascending; an n-gram's number is its place here."""
    share: Floats
    """(m,) share of its history's probability after the discount."""
    rest: Floats
    """(histories,) what remains for shorter n-grams; 1 where nothing was seen to follow."""


class KneserNey:
    """Probabilities of the next token from the n - 1 before it.

    Args:
        documents: the tokens of each, (t,) whole numbers. A document's first token is given, never predicted: begin
            every document with the same one. No n-gram crosses documents.
        order: n, at least 1 (unigrams).
        vocabulary: tokens there are. Unigrams are interpolated with the uniform distribution over all of them, so that
            no token is impossible.

    Raises:
        ValueError: for an order below 1, tokens outside the vocabulary, or no token to predict.

    The longest n-grams count how often they were seen. Shorter ones count the distinct tokens seen before them, and
    each time that they began a document, where nothing can be before them. Each length has three discounts of its own:
    for n-grams counted once, twice, and more often.
    """

    def __init__(self, documents: Sequence[npt.ArrayLike], order: int, vocabulary: int) -> None:
        if order < 1:
            raise ValueError(f"The order of the n-grams is {order}; it must be at least 1.")
        tokens, of = _joined(documents, vocabulary)
        if len(tokens) == 0 or np.array_equal(np.unique(of, return_counts=True)[1], np.ones(of[-1] + 1)):
            raise ValueError("No document has a second token, so there is none to predict; give longer documents.")
        self.order, self.vocabulary = order, vocabulary
        begins = np.append(True, of[1:] != of[:-1])
        numbers, keys = [tokens], [np.arange(vocabulary)]  # of the k-gram that starts at each place, -1 for none
        counts = [np.bincount(tokens[~begins], minlength=vocabulary)]
        for k in range(1, order):
            start = np.flatnonzero(of[k:] == of[:-k])
            found, number = np.unique(numbers[-1][start] * vocabulary + tokens[start + k], return_inverse=True)
            if not len(found):
                break  # no document is that long
            place = np.empty(len(found), dtype=np.int64)
            place[number] = start  # somewhere that each distinct one stands
            counts[-1] = np.bincount(numbers[-1][place + 1], minlength=len(keys[-1]))
            if k > 1:
                counts[-1] += np.bincount(numbers[-1][begins & (numbers[-1] >= 0)], minlength=len(keys[-1]))
            numbers.append(np.full(len(tokens), -1))
            numbers[-1][start] = number
            keys.append(found)
            counts.append(np.bincount(number, minlength=len(found)))
        sizes = [1, *map(len, keys)]
        self._orders = [_smooth(*each, vocabulary) for each in zip(keys, counts, sizes[:-1], strict=True)]

    def log_probs(self, document: npt.ArrayLike) -> Floats:
        """Natural logarithm of each token's probability but the first one's: (t,) -> (t - 1,)."""
        tokens, _ = _joined([document], self.vocabulary)
        p = np.full(max(0, len(tokens) - 1), 1 / self.vocabulary)
        for order, at, history in self._histories(tokens):
            number = _find(order.keys, history, tokens[at + 1], self.vocabulary)
            p[at] = order.rest[history] * p[at] + np.where(number >= 0, order.share[number], 0.0)
        return np.log(p)

    def distributions(self, document: npt.ArrayLike) -> Floats:
        """Probability of every token after each place but the last: (t,) -> (t - 1, vocabulary)."""
        tokens, _ = _joined([document], self.vocabulary)
        p = np.full((max(0, len(tokens) - 1), self.vocabulary), 1 / self.vocabulary)
        for order, at, history in self._histories(tokens):
            p[at] *= order.rest[history][:, None]
            first, stop = (np.searchsorted(order.keys, (history + more) * self.vocabulary) for more in (0, 1))
            count = stop - first
            row = np.repeat(at, count)
            member = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + np.repeat(first, count)
            p[row, order.keys[member] % self.vocabulary] += order.share[member]
        return p

    def _histories(self, tokens: Ints) -> Iterator[tuple[_Order, Ints, Ints]]:
        """From short to long: an order, the places (of the last token of a history) where it has seen the history, and
        the history's number there."""
        at = np.arange(len(tokens) - 1)
        number = np.zeros(len(at), dtype=np.int64)  # of the empty history
        for k, order in enumerate(self._orders):
            yield order, at, number
            if k + 1 == len(self._orders):
                return
            # A longer history ends at the next place, and goes on with the token there.
            if k == 0:
                number = tokens[:-1]
            else:
                inside = at + 1 < len(tokens) - 1
                at, number = at[inside] + 1, number[inside]
                number = _find(order.keys, number, tokens[at], self.vocabulary)
            at, number = at[number >= 0], number[number >= 0]


def _joined(documents: Sequence[npt.ArrayLike], vocabulary: int) -> tuple[Ints, Ints]:
    """All tokens end to end, and the number of the document of each."""
    each = [np.asarray(document, dtype=np.int64).reshape(-1) for document in documents]
    tokens = np.concatenate(each) if each else np.empty(0, dtype=np.int64)
    if len(tokens) and not 0 <= tokens.min() <= tokens.max() < vocabulary:
        raise ValueError(f"Tokens {tokens.min()} to {tokens.max()} do not fit a vocabulary of {vocabulary}.")
    return tokens, np.repeat(np.arange(len(each)), [len(one) for one in each])


def _find(keys: Ints, history: Ints, token: Ints, vocabulary: int) -> Ints:
    """Numbers of the n-grams of `history` and `token`, -1 where not seen."""
    wanted = history * vocabulary + token
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def _smooth(keys: Ints, counts: Ints, histories: int, vocabulary: int) -> _Order:
    """Discounted shares, and what the discounts leave over."""
    discount = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    history = keys // vocabulary
    total = np.bincount(history, weights=counts, minlength=histories)
    left = np.bincount(history, weights=discount, minlength=histories)
    seen = total > 0
    rest = np.where(seen, left / np.where(seen, total, 1), 1.0)
    return _Order(keys, (counts - discount) / np.where(seen, total, 1)[history], rest)


def _discounts(counts: Ints) -> tuple[float, float, float]:
    """Taken off n-grams counted 1, 2, and 3 or more times, from how many were counted 1, 2, 3 and 4 times."""
    n1, n2, n3, n4 = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return _USUAL
    y = n1 / (n1 + 2 * n2)
    estimates = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if not all(0 < estimate <= most for most, estimate in enumerate(estimates, 1)):
        return _USUAL
    return estimates
