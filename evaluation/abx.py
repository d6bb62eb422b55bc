"""ABX on minimal pairs: Schatz et al. 2013 (Interspeech), as Libri-light has it, Kahn et al. 2020, arXiv 1912.07875.

A and X are the same phone between the same neighbours, B another one there: is X nearer to A than to B?
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]
Triple = tuple[int, int, int]
"""Places of A, B and X among the tokens."""
Cell = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Places of what can be A, what B and what X."""
T = TypeVar("T")

_GROUP = 10  # tokens of one phone, context and speaker that are looked at, as in Libri-light
_OTHERS = 5  # speakers of X for each of A and B, as in Libri-light
_CELL = 5  # triples of one pair of phones, context and speakers: more cells say more than more triples of one
_CHUNK = 2_000_000  # distances between frames held at once
_DIGITS = 6  # of a distance: the angle between equal frames is 1e-8 of half a turn, not 0, and must not break a tie


class NoTriplesError(ValueError):
    """The tokens hold no triple to ask about: they are too few."""


class Token(NamedTuple):
    """One phone as it was said once."""

    frames: Floats  # (f, d)
    phone: str
    context: Hashable
    """What stands before and after; () to compare phones between any neighbours."""
    speaker: Hashable


def tokens(
    frames: ArrayLike, starts: ArrayLike, names: Sequence[str], hop: float, speaker: Hashable, pauses: str = "_"
) -> list[Token]:
    """The phones of one recording but for its `pauses` and those that no frame's centre falls in.

    frames (f, d), of which frame i stands for the time from i * hop to (i + 1) * hop; starts (p,) in seconds, a phone
    ending where the next one starts and the last with the recording; names, one for each phone.
    """
    values = np.asarray(frames, dtype=np.float32)
    first = np.ceil(np.asarray(starts, dtype=np.float64) / hop - 0.5).clip(0).astype(int)  # centre at or after it
    edges, around = [*first.tolist(), len(values)], ["", *names, ""]
    return [
        Token(values[edges[i] : edges[i + 1]], name, (around[i], around[i + 2]), speaker)
        for i, name in enumerate(names)
        if name != pauses and edges[i] < min(edges[i + 1], len(values))
    ]


def abx(said: Sequence[Token], across: bool = False, most: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Return {"error", "triples", "pairs"}: the share of triples in which X is nearer to B, 0.5 by chance; how many
    triples were looked at, and of how many ordered pairs of phones.

    A tie is half an error. Errors are averaged over the triples of a pair of phones, context and speakers, then over
    contexts, over speakers, and over pairs of phones, so that frequent ones do not count for more.

    across: X is said by another speaker than A and B; else all three by one.
    most: triples at most, drawn with `seed` where there are more.
    Raises NoTriplesError where there is no triple, ValueError for frames that are not finite.
    """
    if not all(np.isfinite(token.frames).all() for token in said):
        raise ValueError("abx: the frames hold NaN or infinity; the encoder diverged.")
    draw = np.random.default_rng(seed)
    cells = _cells(said, across, draw)
    found = [(name, triple) for name in _some(list(cells), most, draw) for triple in _triples(cells[name], draw)]
    if not found:
        where = "of two speakers" if across else "by one speaker"
        raise NoTriplesError(
            f"abx: no phone is said twice {where} beside another in one context; pass more recordings."
        )
    kept = _some(found, most, draw)
    names: list[Name] = [name for name, _ in kept]
    triples = np.array([triple for _, triple in kept])  # (n, 3)
    errors: Sequence[float] = _errors(said, triples)
    for _ in range(3):  # triples of a cell, then contexts, then speakers
        names, errors = _means(names, errors)
    return {"error": float(np.mean(errors)), "triples": float(len(triples)), "pairs": float(len(errors))}


def dtw(first: Floats, second: Floats, lengths: NDArray[np.int64]) -> Floats:
    """Dynamic time warping of n pairs of token, (n,): the mean angle between frames, as a share of half a turn, along
    the cheapest path from both beginnings to both ends that moves in either or both by one frame.

    first (n, f, d) and second (n, g, d), padded; lengths (n, 2).
    """
    cosines = _unit(first) @ _unit(second).transpose(0, 2, 1)  # (n, f, g)
    angles = np.ascontiguousarray((np.arccos(cosines.clip(-1, 1)) / np.pi).transpose(1, 2, 0))  # (f, g, n)
    cost, steps = np.full_like(angles, np.inf), np.zeros_like(angles)
    for i, j in np.ndindex(angles.shape[:2]):
        if i == j == 0:
            cost[i, j], steps[i, j] = angles[i, j], 1
            continue
        # A tie goes to the diagonal first, then to the frame before in `first`.
        before = [(i - 1, j - 1)] * (i > 0 and j > 0) + [(i - 1, j)] * (i > 0) + [(i, j - 1)] * (j > 0)
        best, taken = cost[before[0]], steps[before[0]]
        for place in before[1:]:
            nearer = cost[place] < best
            best, taken = np.where(nearer, cost[place], best), np.where(nearer, steps[place], taken)
        cost[i, j], steps[i, j] = best + angles[i, j], taken + 1
    ends = (lengths[:, 0] - 1, lengths[:, 1] - 1, np.arange(len(lengths)))
    mean: Floats = cost[ends] / steps[ends]
    return mean


def _unit(frames: Floats) -> Floats:
    length = np.linalg.norm(frames, axis=-1, keepdims=True)
    unit: Floats = np.divide(frames, length, out=np.zeros_like(frames), where=length > 0)
    return unit


Name = tuple[Hashable, ...]
"""What an error is of: two phones, speakers, context. Errors are averaged over the last part first."""


def _cells(said: Sequence[Token], across: bool, draw: np.random.Generator) -> dict[Name, Cell]:
    """Which tokens can be A, B and X, by what they are of; the order depends on that of `said` alone."""
    groups: dict[Hashable, dict[Hashable, dict[str, list[int]]]] = defaultdict(lambda: defaultdict(dict))
    for place, token in enumerate(said):
        groups[token.context][token.speaker].setdefault(token.phone, []).append(place)
    cells: dict[Name, Cell] = {}
    for context, speakers in groups.items():
        kept = {
            speaker: {phone: _some(places, _GROUP, draw) for phone, places in phones.items()}
            for speaker, phones in speakers.items()
        }
        for speaker, phones in kept.items():
            for a in phones if len(phones) > 1 else ():
                others = [other for other in kept if other != speaker and a in kept[other]] if across else [speaker]
                for other in _some(others, _OTHERS, draw):
                    if across or len(phones[a]) > 1:
                        cells |= {
                            ((a, b), (speaker, other), context): (phones[a], phones[b], kept[other][a])
                            for b in phones
                            if b != a
                        }
    return cells


def _triples(cell: Cell, draw: np.random.Generator) -> list[Triple]:
    """A few of all triples, of different A and X."""
    a, b, x = cell
    pairs = [(first, last) for first in a for last in x if first != last]
    chosen = _some(range(len(pairs) * len(b)), _CELL, draw)
    return [(pairs[place // len(b)][0], b[place % len(b)], pairs[place // len(b)][1]) for place in chosen]


def _some(items: Sequence[T], most: int, draw: np.random.Generator) -> Sequence[T]:
    if len(items) <= most:
        return items
    return [items[place] for place in np.sort(draw.permutation(len(items))[:most])]


def _errors(said: Sequence[Token], triples: NDArray[np.int64]) -> list[float]:
    """Of each triple: 0, 0.5 or 1."""
    a, b, x = triples.T
    pairs, back = np.unique(np.concatenate([np.stack([a, x], 1), np.stack([b, x], 1)]), axis=0, return_inverse=True)
    found = _distances(said, pairs)[back.reshape(2, -1)]  # (2, n)
    found = found.round(_DIGITS)
    wrong = (found[0] > found[1]) + 0.5 * (found[0] == found[1])
    return [float(value) for value in wrong]


def _distances(said: Sequence[Token], pairs: NDArray[np.int64]) -> Floats:
    """Of pairs (n, 2) of places in `said`; those of like lengths are worked out together."""
    counts = np.array([len(token.frames) for token in said])[pairs]  # (n, 2)
    found = np.empty(len(pairs))
    order = np.lexsort((counts[:, 1], counts[:, 0]))
    start = 0
    while start < len(order):
        size = 1
        while start + size < len(order) and size * counts[order[start : start + size + 1]].max(0).prod() < _CHUNK:
            size += 256
        chosen = order[start : start + size]
        sides = [_padded([said[place].frames for place in side]) for side in pairs[chosen].T]
        found[chosen] = dtw(sides[0], sides[1], counts[chosen])
        start += size
    return found


def _padded(frames: Sequence[Floats]) -> Floats:
    found = np.zeros((len(frames), max(map(len, frames)), frames[0].shape[1]))
    for place, values in enumerate(frames):
        found[place, : len(values)] = values
    return found


def _means(
    names: Iterable[tuple[Hashable, ...]], errors: Sequence[float]
) -> tuple[list[tuple[Hashable, ...]], list[float]]:
    """The mean over what has the same name, named without its last part."""
    grouped: dict[Name, list[float]] = defaultdict(list)
    for name, error in zip(names, errors, strict=True):
        grouped[name].append(error)
    return [name[:-1] for name in grouped], [float(np.mean(values)) for values in grouped.values()]
