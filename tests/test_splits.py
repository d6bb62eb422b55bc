"""What is held out does not depend on the order of the rows, and groups that touch are one."""

import numpy as np
import pytest

from modalities.splits import joined, split


def test_an_id_keeps_its_side():
    ids = np.repeat(np.arange(20), 3)
    train, test = split(ids, 5, seed=0)
    assert len(test) == 15 and not set(ids[train]) & set(ids[test])
    order = np.random.default_rng(0).permutation(len(ids))
    _, shuffled = split(ids[order], 5, seed=0)
    assert set(ids[order][shuffled]) == set(ids[test]) != set(ids[split(ids, 5, seed=1)[1]])
    with pytest.raises(ValueError, match=r"held_out=20 leaves nothing .* 20 different verses; hold out fewer"):
        split(ids, 20, 0, "verses")


def slow(first, second):
    """Names passed from row to row until none changes."""
    names = list(first)
    changed = True
    while changed:
        changed = False
        for i in range(len(names)):
            for j in range(len(names)):
                if (first[i] == first[j] or second[i] == second[j]) and names[j] < names[i]:
                    names[i], changed = names[j], True
    return names


def test_rows_that_share_anything_are_joined():
    draw = np.random.default_rng(0)
    for _ in range(20):
        first, second = draw.integers(0, 12, 14) * 10**17, draw.integers(0, 12, 14) - 5
        found = joined(first, second)
        assert found.tolist() == slow(first, second)
        assert found.tolist() != first.tolist()  # broken twin: one of the two alone
        order = draw.permutation(14)
        assert np.array_equal(joined(first[order], second[order]), found[order])
    assert joined(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).size == 0
