"""Batches that know which training picture each of their rows is, for methods that remember something of every one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modalities.pictures.rows import Row
from modalities.task import Batch
from modalities.vision.collate import ImageCollate


class Indexed:
    """Adds index (n,) to the batches of another collator: the place of each picture's row among the training rows.

    Where a picture cannot be read and another takes its place, that one brings its own index.
    """

    def __init__(self, collate: ImageCollate, ids: Sequence[Any]) -> None:
        self.collate = collate
        self.places: Mapping[Any, int] = {row_id: place for place, row_id in enumerate(ids)}

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64]) -> Batch:
        """The other collator's batch and index."""
        batch, shown = self.collate.with_rows(rows, seeds)
        return {**batch, "index": torch.tensor([self.places[row["id"]] for row in shown])}
