"""Clusters of frames by k-means, found in a stream of frames: the labels of HuBERT (arXiv 2106.07447)."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from modalities.audio.collate import WindowCollate
from modalities.audio.rows import Row, Rows
from modalities.draws import mix
from modalities.task import Batch
from objectives.precision import full_precision

Frames = npt.NDArray[np.float32]
_SAMPLE = 20_000  # frames in which k-means is run to its end; those after them move its centres
_CHUNK = 10_000  # frames of a later step
_STARTS, _ROUNDS = 3, 50
_TOGETHER = 16  # windows of a batch


class Clusters(nn.Module):
    """The nearest of `count` centres, for frames of width `width`. Distances are Euclidean between frames as they are:
    standardised MFCCs gave clusters that know less of phones."""

    centres: Tensor  # (k, d)
    found: Tensor  # () bool, whether the centres are more than zeros

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(count, width))
        self.register_buffer("found", torch.tensor(False))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (..., d) -> the numbers of their centres, int64 (...)."""
        return _nearest(frames, self.centres)

    def fit(self, chunks: Iterable[Frames], seed: int) -> int:
        """Find the centres in chunks (m, d) of real frames, which are read once; returns how many frames there were.

        Raises:
            ValueError: if there are fewer frames than centres.
        """
        steps = _in_steps(chunks)
        sample = next(steps, np.zeros((0, self.centres.shape[1]), dtype=np.float32))
        if len(sample) < len(self.centres):
            raise ValueError(
                f"task.clusters is {len(self.centres)}, but only {len(sample)} frames were read; ask for fewer."
            )
        seen = len(sample)
        with threadpool_limits(1):  # the order of a sum must not depend on how many threads there are
            first = KMeans(len(self.centres), n_init=_STARTS, max_iter=_ROUNDS, random_state=seed).fit(sample)
            found = MiniBatchKMeans(len(self.centres), init=first.cluster_centers_, n_init=1, random_state=seed)
            found.partial_fit(sample)
            for chunk in steps:
                found.partial_fit(chunk)
                seen += len(chunk)
        self.centres.copy_(torch.from_numpy(found.cluster_centers_))
        self.found.fill_(True)
        return seen


@full_precision
def _nearest(frames: Tensor, centres: Tensor) -> Tensor:
    return (centres.square().sum(1) - 2 * frames @ centres.T).argmin(-1)


def _in_steps(chunks: Iterable[Frames]) -> Iterator[Frames]:
    """The same frames in the same order: first `_SAMPLE` of them, then `_CHUNK` at a time; the last may be fewer."""
    held: list[Frames] = []
    size = _SAMPLE
    for chunk in chunks:
        held.append(chunk)
        while sum(map(len, held)) >= size:
            joined = np.concatenate(held)
            yield joined[:size]
            held, size = [joined[size:]], _CHUNK
    if sum(map(len, held)):
        yield np.concatenate(held)


def windows(rows: Rows | Iterable[Row], collate: WindowCollate, count: int, seed: int) -> Iterator[Batch]:
    """Batches of `count` windows in all, the same ones in every process: of recordings in random order, all once before
    any twice, or of the first ones of a stream."""
    chosen = itertools.islice(_shuffled(rows, seed) if isinstance(rows, Rows) else rows, count)
    numbers = itertools.count(seed * 2**32)
    while batch := list(itertools.islice(chosen, _TOGETHER)):
        seeds = np.array([next(numbers) for _ in batch], dtype=np.uint64)
        yield collate(batch, mix(seeds))


def _shuffled(rows: Rows, seed: int) -> Iterator[Row]:
    """Without end."""
    draw = np.random.default_rng(seed)
    while True:
        yield from (rows[int(i)] for i in draw.permutation(len(rows)))
