"""Batches in which few pictures have a label, for methods that learn from those and from all the others as well."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from modalities.draws import mix, uniform
from modalities.pictures.rows import Row, Rows
from modalities.task import Batch
from modalities.vision.collate import ImageCollate

_STREAM = np.uint64(64)


class FewLabels:
    """Adds labels (n,) to the batches of another collator: those of `labelled`, and -1 for every other picture.

    Few labels leave most batches with hardly one, so labelled pictures take the place of a share of the rows. Whether
    they do, and which, is drawn from the row's seed alone: batches are the same on any number of processes.

    Args:
        labelled: the rows whose labels may be seen.
        share: how many rows of a batch give way to labelled ones, on average, in [0, 1].

    Raises:
        ValueError: if there is no labelled row, or one of them has no label.
    """

    def __init__(self, collate: ImageCollate, labelled: Rows, share: float = 0.0) -> None:
        without = [row_id for row_id, label in zip(labelled.ids, labelled.labels, strict=True) if label is None]
        if not len(labelled) or without:
            found = f"row {without[0]} has no label" if without else "there is no labelled row"
            raise ValueError(f"Few labels: {found}; give data whose training pictures have labels.")
        assert 0 <= share <= 1, share
        self.collate, self.labelled, self.share = collate, labelled, share
        self.labels = dict(zip(labelled.ids.tolist(), cast(list[int], labelled.labels), strict=True))

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64]) -> Batch:
        """The other collator's batch, some rows of it replaced, and labels."""
        batch, shown = self.collate.with_rows(self._drawn(rows, seeds), seeds)
        return {**batch, "labels": torch.tensor([self.labels.get(row["id"], -1) for row in shown])}

    def _drawn(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64]) -> list[Row]:
        draws = uniform(mix(np.asarray(seeds, np.uint64) ^ _STREAM), 2)  # (n, 2)
        places = np.flatnonzero(draws[:, 0] < self.share)
        drawn = self.labelled.__getitems__((draws[places, 1] * len(self.labelled)).astype(int).tolist())
        given = dict(zip(places.tolist(), drawn, strict=True))
        return [given.get(place, row) for place, row in enumerate(rows)]
