"""Rows to batches of training: squares of one size, as bytes. Views are made of them on the training device."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from modalities.decoder import Decoder
from modalities.draws import as_signed, mix, uniform
from modalities.media import decode
from modalities.pictures.rows import Bytes, Row, Source


class ImageCollate:
    """Makes a batch of pictures; `collate(rows, seeds)` in training, `collate(rows)` in evaluation.

    The short side is resized to `side`. Of a longer one a stretch is kept: in training a random one, drawn from the
    row's seed alone, and without seeds the middle. A row whose picture cannot be decoded gives its place, label
    included, to another (see `Decoder`).

    Args:
        labels: Add labels (n,), for training on them; a ValueError where a row has none.
    """

    def __init__(self, side: int, max_bad: float = 0.01, labels: bool = False) -> None:
        self.side, self.labels = side, labels
        self.decode = Decoder(_open, max_bad)

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """images uint8 (n, 3, side, side), seeds int64 (n,) where there are some, labels int64 (n,) if asked for."""
        return self.with_rows(rows, seeds)[0]

    def with_rows(
        self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None
    ) -> tuple[dict[str, Tensor], list[Row]]:
        """The batch and the rows whose pictures are in it: what is said of a picture must be said of its own row."""
        rows, pictures = self.decode(rows)
        # Scrambled, for a view takes its own draws from the same seed.
        cuts = np.full(len(rows), 0.5) if seeds is None else uniform(mix(np.asarray(seeds, np.uint64)), 1)[:, 0]  # (n,)
        squares = np.stack([_square(picture, self.side, cut) for picture, cut in zip(pictures, cuts, strict=True)])
        batch = {"images": torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous()}  # (n, 3, side, side)
        if seeds is not None:
            batch["seeds"] = as_signed(seeds)
        if self.labels:
            batch["labels"] = _labels(rows)
        return batch, rows


def _open(source: Source, row: int) -> Image.Image | Bytes:
    return source if isinstance(source, np.ndarray) else decode(source, row)


def _square(picture: Image.Image | Bytes, side: int, cut: float) -> Bytes:
    """(side, side, 3) out of a picture of any size; `cut` in [0, 1) says where along the longer side."""
    if isinstance(picture, np.ndarray):
        if picture.shape == (side, side, 3):
            return picture
        picture = Image.fromarray(picture)
    short = min(picture.size)
    left, top = (int(cut * (length - short + 1)) for length in picture.size)
    if picture.size != (side, side):
        box = (left, top, left + short, top + short)
        picture = picture.resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture)


def _labels(rows: Sequence[Row]) -> Tensor:
    missing = [row["id"] for row in rows if row["label"] is None]
    if missing:
        raise ValueError(f"Row {missing[0]} has no label: train on labels with the rows that have one.")
    return torch.tensor([cast(int, row["label"]) for row in rows])
