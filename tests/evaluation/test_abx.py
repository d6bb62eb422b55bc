"""ABX: against every path and every triple written out, and where the answer is known."""

from collections import defaultdict
from itertools import product
from typing import Any

import numpy as np
import pytest

from evaluation import abx as module
from evaluation.abx import Token, abx, dtw, tokens

PHONES, CONTEXTS, SPEAKERS = "abc", ["st", "pr"], [0, 1, 2]


def angle(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.arccos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1)) / np.pi)


def paths(i: int, j: int) -> list[list[tuple[int, int]]]:
    """All ways from (0, 0) to (i, j)."""
    if i == j == 0:
        return [[(0, 0)]]
    before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
    return [[*path, (i, j)] for x, y in before if x >= 0 and y >= 0 for path in paths(x, y)]


def cheapest(x: np.ndarray, y: np.ndarray) -> float:
    """The mean along the path of the least sum."""
    found = [[angle(x[i], y[j]) for i, j in path] for path in paths(len(x) - 1, len(y) - 1)]
    return float(np.mean(min(found, key=sum)))


def said(seed: int = 0, noise: float = 1.0, each: int = 2, width: int = 5) -> list[Token]:
    """Every phone in every context by every speaker, a few times: a centre of the phone, and noise."""
    draw = np.random.default_rng(seed)
    centres = {phone: draw.normal(size=width) for phone in PHONES}
    return [
        Token((centres[p] + noise * draw.normal(size=(draw.integers(1, 5), width))).astype(np.float32), p, c, s)
        for p, c, s, _ in product(PHONES, CONTEXTS, SPEAKERS, range(each))
    ]


def written_out(items: list[Token], across: bool) -> float:
    """Every triple, in plain loops."""
    cells: dict[Any, list[float]] = defaultdict(list)
    for (i, a), (_, b), (j, x) in product(*[list(enumerate(items))] * 3):
        right = a.phone == x.phone != b.phone and a.context == b.context == x.context and i != j
        who = a.speaker == b.speaker and (x.speaker != a.speaker) == across
        if right and who:
            near, far = cheapest(a.frames, x.frames), cheapest(b.frames, x.frames)
            cells[a.phone, b.phone, a.speaker, x.speaker, a.context].append(float(near > far))
    for depth in (4, 2):
        means: dict[Any, list[float]] = defaultdict(list)
        for name, errors in cells.items():
            means[name[:depth]].append(float(np.mean(errors)))
        cells = means
    return float(np.mean([np.mean(errors) for errors in cells.values()]))


def test_dtw_is_the_cheapest_of_all_paths() -> None:
    draw = np.random.default_rng(0)
    lengths = np.array([[f, g] for f in (1, 2, 4) for g in (1, 3, 4)])
    first, second = draw.normal(size=(2, len(lengths), 4, 3))
    found = dtw(first, second, lengths)
    wanted = [cheapest(x[:f], y[:g]) for x, y, (f, g) in zip(first, second, lengths, strict=True)]
    assert np.abs(found - wanted).max() < 1e-12
    padded = dtw(first, second, np.full_like(lengths, 4))  # the broken twin: padding counts
    assert np.abs(padded - wanted).max() > 1e-3


@pytest.mark.parametrize("across", [False, True])
def test_errors_are_those_of_every_triple_written_out(across: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELL", 1000)
    items = said(each=2)
    draw = np.random.default_rng(1)
    items = [items[place] for place in draw.permutation(len(items))[: len(items) * 2 // 3]]  # uneven cells
    found = abx(items, across)
    assert abs(found["error"] - written_out(items, across)) < 1e-12
    assert abs(found["error"] - written_out(items, not across)) > 1e-3  # the broken twin: the other speakers


def test_perfect_random_and_collapsed_features() -> None:
    for across in (False, True):
        assert abx(said(noise=0.01), across)["error"] == 0
        assert abx(said(noise=100.0, each=8), across)["error"] == pytest.approx(0.5, abs=0.05)
        same = [token._replace(frames=np.ones_like(token.frames)) for token in said()]
        assert abx(same, across)["error"] == 0.5


def test_speakers_who_sound_apart_err_only_across() -> None:
    """A phone's direction is that of the next phone by the next speaker."""
    turned = {(p, s): np.eye(9)[(PHONES.index(p) + s) % 3] for p, s in product(PHONES, SPEAKERS)}
    items = [token._replace(frames=turned[token.phone, token.speaker][None]) for token in said()]
    assert abx(items)["error"] == 0
    assert abx(items, across=True)["error"] == 0.75  # A is never near: a tie with B, or B is nearer


def test_triples_are_drawn_the_same_each_time_and_estimate_the_whole() -> None:
    items = said(noise=2.0, each=8)
    some = abx(items, most=100)
    assert some == abx(items, most=100) and some["triples"] == 100 and some["pairs"] == 6
    assert some != abx(items, most=100, seed=1)
    assert some["error"] == pytest.approx(abx(items)["error"], abs=0.1)


def test_phones_are_the_frames_whose_centres_they_hold() -> None:
    frames = np.arange(10)[:, None] + 1.0
    starts, names = [0.0, 0.021, 0.0551, 0.056, 0.074], ["_", "a", "b", "c", "_"]
    found = tokens(frames, starts, names, 0.01, "me")
    assert [(token.phone, token.frames[:, 0].tolist()) for token in found] == [("a", [3, 4, 5, 6]), ("c", [7])]
    assert [token.context for token in found] == [("_", "b"), ("b", "_")]
    late = tokens(frames, [0.0, 0.2], ["a", "b"], 0.01, "me")  # b begins after the last frame
    assert [len(token.frames) for token in late] == [10]


def test_what_cannot_be_compared_is_refused() -> None:
    items = said(each=1)
    with pytest.raises(module.NoTriplesError, match="no phone is said twice by one speaker"):
        abx(items)
    with pytest.raises(ValueError, match="of two speakers"):
        abx([token for token in items if token.speaker == 0], across=True)
    with pytest.raises(ValueError, match="NaN or infinity") as raised:
        abx([items[0]._replace(frames=np.full((2, 5), np.nan)), *items[1:]])
    assert not isinstance(raised.value, module.NoTriplesError)  # which recipes take for too few recordings
