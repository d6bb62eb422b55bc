"""How often words stand near each other: the counts that GloVe and its classic forerunners start from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from modalities.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Entries:
    """The pairs of words that ever met: an indexable data set for `fit`, one row per ordered pair."""

    words: npt.NDArray[np.int64]
    near: npt.NDArray[np.int64]
    counts: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.words)

    def __getitems__(self, indices: Sequence[int]) -> "Entries":
        chosen = np.asarray(indices, dtype=np.int64)
        return Entries(self.words[chosen], self.near[chosen], self.counts[chosen])


def co_occurrences(documents: Sequence[Sequence[str]], vocabulary: Vocabulary, window: int) -> csr_array:
    """Symmetric counts, (c, c): two words of a document that stand k <= `window` places apart count 1/k.

    As everywhere here, words that the vocabulary lacks are taken out first.
    """
    encoded = [vocabulary.encode(document) for document in documents]
    words = np.concatenate(encoded)
    document = np.repeat(np.arange(len(encoded)), [len(ids) for ids in encoded])
    c = len(vocabulary)
    total = csr_array((c, c), dtype=np.float64)
    for apart in range(1, window + 1):
        same = document[apart:] == document[:-apart]
        left, right = words[:-apart][same], words[apart:][same]
        total = total + coo_array((np.full(len(left), 1 / apart), (left, right)), shape=(c, c)).tocsr()
    return csr_array(total + total.T)


def entries(counts: csr_array) -> Entries:
    """The entries of `counts` that are not zero, as rows to train on."""
    found = counts.tocoo()
    return Entries(found.row.astype(np.int64), found.col.astype(np.int64), found.data.astype(np.float32))


def collate_entries(rows: Entries, seeds: npt.NDArray[np.uint64]) -> dict[str, Tensor]:
    """words and near long (n,), counts float (n,). Nothing is drawn, so the seeds go unused."""
    return {
        "words": torch.from_numpy(rows.words),
        "near": torch.from_numpy(rows.near),
        "counts": torch.from_numpy(rows.counts),
    }
