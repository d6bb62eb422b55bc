"""Rows to batches of training: stretches of one length, as samples. Augmentation is done on the training device."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modalities.audio.decode import Samples, decode, header
from modalities.audio.rows import Row
from modalities.draws import as_signed, mix, uniform


class WindowCollate:
    """One stretch of each recording, drawn from the row's seed alone; without seeds the middle one.

    A shorter recording is followed by silence. `count` stretches, drawn independently, make batches of (n, v, t).
    """

    def __init__(self, samples: int, rate: int, count: int = 1) -> None:
        self.samples, self.rate, self.count = samples, rate, count

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """audio fp32 (n, t), or (n, v, t) where `count` is not 1; lengths int64 (n,) or (n, v), samples that are not
        padding; seeds int64 (n,) where there are some; speakers int64 (n,), -1 where unknown."""
        # Scrambled, for augmentations take their own draws from the same seed.
        cuts = np.full((len(rows), self.count), 0.5)
        if seeds is not None:
            cuts = uniform(mix(np.asarray(seeds, np.uint64)), self.count)  # (n, v)
        windows = [[self._window(row, cut) for cut in mine] for row, mine in zip(rows, cuts, strict=True)]
        lengths = torch.tensor([[len(window) for window in mine] for mine in windows])  # (n, v)
        audio = np.zeros((*lengths.shape, self.samples), dtype=np.float32)
        for padded, mine in zip(audio, windows, strict=True):
            for place, window in enumerate(mine):
                padded[place, : len(window)] = window
        batch = {
            "audio": torch.from_numpy(audio),
            "lengths": lengths,
            "speakers": torch.tensor([-1 if row["speaker"] is None else row["speaker"] for row in rows]),
        }
        if self.count == 1:
            batch |= {name: batch[name][:, 0] for name in ("audio", "lengths")}
        if seeds is not None:
            batch["seeds"] = as_signed(seeds)
        return batch

    def _window(self, row: Row, cut: float) -> Samples:
        seconds = self.samples / self.rate
        spare = header(row["audio"], row["id"]).seconds - seconds
        return decode(row["audio"], row["id"], self.rate, max(0.0, cut * spare), seconds)[: self.samples]
