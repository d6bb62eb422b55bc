"""Batches that know which picture each of their rows is, for methods that remember pictures of earlier steps."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from modalities.pictures.rows import Row
from modalities.task import Batch
from modalities.vision.collate import ImageCollate


class Indexed:
    """Adds index int64 (n,) to the batches of another collator, by which a picture is known again.

    Where a picture cannot be read and another takes its place, that one brings its own index.

    Args:
        ids: of the training rows, the only ones there may be: an index is a place among them. Without them it is the
            row's own id, and any row will do, of a stream too.
    """

    def __init__(self, collate: ImageCollate, ids: Sequence[int] | None = None) -> None:
        self.collate = collate
        self.places = None if ids is None else {row_id: place for place, row_id in enumerate(ids)}

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64]) -> Batch:
        """The other collator's batch and index."""
        batch, shown = self.collate.with_rows(rows, seeds)
        found = [row["id"] if self.places is None else self.places[row["id"]] for row in shown]
        return {**batch, "index": torch.tensor(found, dtype=torch.int64)}
