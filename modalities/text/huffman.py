"""A Huffman tree over words: the codes of a hierarchical softmax (Morin and Bengio 2005; Mikolov et al. 2013)."""

import heapq

import numpy as np
import numpy.typing as npt


def huffman(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The way from the root to each word, both (c, longest): numbers of the c - 1 inner nodes passed, the root being 0,
    and the turn taken at each (0 or 1); -1 after the end.

    Frequent words have short ways: the mean length weighted by counts is the least of all trees.
    """
    c = len(counts)
    heap = [(int(count), word) for word, count in enumerate(counts)]
    heapq.heapify(heap)
    above: dict[int, tuple[int, int]] = {}  # node -> its parent, and the turn that leads to it; words are 0 ... c - 1
    for node in range(c, 2 * c - 1):
        (rarer, left), (rare, right) = heapq.heappop(heap), heapq.heappop(heap)
        above[left], above[right] = (node, 0), (node, 1)
        heapq.heappush(heap, (rarer + rare, node))
    root = 2 * c - 2
    ways = []
    for word in range(c):
        way, node = [], word
        while node != root:
            node, turn = above[node]
            way.append((root - node, turn))
        ways.append(way[::-1])
    nodes = np.full((c, max(map(len, ways))), -1, dtype=np.int64)
    turns = nodes.copy()
    for word, way in enumerate(ways):
        nodes[word, : len(way)], turns[word, : len(way)] = zip(*way, strict=True)
    return nodes, turns
