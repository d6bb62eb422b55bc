"""Rows to batches: stretches of one length, or whole recordings. Augmentation is done on the training device."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modalities.audio.decode import Samples, decode, header
from modalities.audio.rows import Row, Source
from modalities.decoder import Decoder
from modalities.draws import as_signed, mix, uniform


class _Stretch(NamedTuple):
    start: float  # seconds of the recording before it
    samples: Samples  # (t,)


class WindowCollate:
    """One stretch of each recording, drawn from the row's seed alone; without seeds the middle one.

    A shorter recording is followed by silence. `count` stretches, drawn independently, make batches of (n, v, t). While
    training, a row that cannot be decoded gives its place to another (see `Decoder`); without seeds it is an error.
    """

    def __init__(self, samples: int, rate: int, count: int = 1, max_bad: float = 0.01) -> None:
        self.samples, self.rate, self.count = samples, rate, count
        self.decode = Decoder(self._read, max_bad, "audio", "recordings")

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """audio fp32 (n, t), or (n, v, t) where `count` is not 1; lengths int64 (n,) or (n, v), samples that are not
        padding; starts fp32 (n,) or (n, v), seconds of the recording before the stretch; seeds int64 (n,) where there
        are some; speakers int64 (n,), -1 where unknown."""
        return self.with_rows(rows, seeds)[0]

    def with_rows(
        self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None
    ) -> tuple[dict[str, Tensor], list[Row]]:
        """The batch and the rows whose recordings are in it: what is said of a recording must be said of its row."""
        if seeds is None:
            middle = np.full(self.count, 0.5)
            chosen, found = list(rows), [self._read(row["audio"], row["id"], middle) for row in rows]
        else:
            # Scrambled, for augmentations take their own draws from the same seed.
            cuts = uniform(mix(np.asarray(seeds, np.uint64)), self.count)  # (n, v)
            chosen, found = self.decode(rows, list(cuts))
        lengths = torch.tensor([[len(one.samples) for one in mine] for mine in found])  # (n, v)
        audio = np.zeros((*lengths.shape, self._width(lengths)), dtype=np.float32)
        for padded, mine in zip(audio, found, strict=True):
            for place, one in enumerate(mine):
                padded[place, : len(one.samples)] = one.samples
        batch = {
            "audio": torch.from_numpy(audio),
            "lengths": lengths,
            "starts": torch.tensor([[one.start for one in mine] for mine in found], dtype=torch.float32),
            "speakers": torch.tensor([-1 if row["speaker"] is None else row["speaker"] for row in chosen]),
        }
        if self.count == 1:
            batch |= {name: batch[name][:, 0] for name in ("audio", "lengths", "starts")}
        if seeds is not None:
            batch["seeds"] = as_signed(seeds)
        return batch, chosen

    def _width(self, lengths: Tensor) -> int:
        """Samples of a padded stretch."""
        return self.samples

    def _read(self, source: Source, row: int, cuts: npt.NDArray[np.float64]) -> list[_Stretch]:
        """cuts (v,) in [0, 1): where in the recording each stretch is."""
        seconds = self.samples / self.rate
        spare = max(0.0, header(source, row).seconds - seconds)
        starts = [float(cut) * spare for cut in cuts]
        return [_Stretch(start, decode(source, row, self.rate, start, seconds)[: self.samples]) for start in starts]


class UtteranceCollate(WindowCollate):
    """Whole recordings, padded with silence to the longest of the batch. Of one longer than `samples` a stretch is
    taken, as `WindowCollate` does. With `train.bucket_window` a batch is of recordings that are about equally long."""

    def __init__(self, samples: int, rate: int, max_bad: float = 0.01) -> None:
        super().__init__(samples, rate, max_bad=max_bad)

    def _width(self, lengths: Tensor) -> int:
        return int(lengths.max())
