"""Which rows are held out: decided by a hash of what a row is, so that no thing is on both sides."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from modalities.draws import mix


def split(ids: npt.NDArray[np.int64], held_out: int, seed: int, things: str = "images") -> tuple[list[int], list[int]]:
    """Positions (train, test) such that `held_out` ids are in test and no id is on both sides.

    Ids are ranked by a hash of (seed, id), so an id keeps its side however the rows are ordered, and repeated rows of
    one thing go together. `things` is what the ids number, for the message. Raises ValueError when nothing would be
    left to train on.
    """
    unique = np.unique(ids)
    if not 0 <= held_out < len(unique):
        raise ValueError(
            f"data.held_out={held_out} leaves nothing to train on: the data has {len(unique)} different "
            f"{things}; hold out fewer."
        )
    rank = mix(unique.astype(np.uint64) ^ mix(np.array([seed], dtype=np.uint64)))
    test_ids = unique[np.argsort(rank, kind="stable")[:held_out]]
    in_test = np.isin(ids, test_ids)
    return np.flatnonzero(~in_test).tolist(), np.flatnonzero(in_test).tolist()


def count_of(held_out: float, things: int) -> int:
    """How many of so many things `held_out` means: it is a number of them, or a share below 1 that is at least one."""
    return max(1, round(held_out * things)) if 0 < held_out < 1 else int(held_out)


def split_each(
    ids: npt.NDArray[np.int64], strata: npt.NDArray[np.int64], held_out: float, seed: int, things: str
) -> tuple[list[int], list[int]]:
    """As `split`, by a share (or number) of each stratum's ids: about `held_out` in all, and at least one of every
    stratum that has two. An id that is in several strata counts for its first row's."""
    unique, first = np.unique(ids, return_index=True)
    share = held_out if held_out < 1 else held_out / len(unique)
    test = [np.empty(0, dtype=np.int64)]
    for stratum in np.unique(strata):
        own = unique[strata[first] == stratum]
        count = min(count_of(share, len(own)), len(own) - 1) if share < 1 else len(own)
        test.append(own[split(own, count, seed, things)[1]])
    in_test = np.isin(ids, np.concatenate(test))
    return np.flatnonzero(~in_test).tolist(), np.flatnonzero(in_test).tolist()


def joined(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Groups, (n,): rows that share a value of either array, directly or through others, share a group. Each is named
    by the smallest `first` in it, so that names do not depend on the order of the rows."""
    if not len(first):
        return first
    a, b = np.unique(first, return_inverse=True)[1], np.unique(second, return_inverse=True)[1]
    nodes = int(a.max() + b.max()) + 2
    links = coo_array((np.ones(len(a), dtype=np.int8), (a, a.max() + 1 + b)), shape=(nodes, nodes))
    group = connected_components(links, directed=False)[1][a]
    smallest = np.full(nodes, np.iinfo(np.int64).max)
    np.minimum.at(smallest, group, first)
    names: npt.NDArray[np.int64] = smallest[group]
    return names
