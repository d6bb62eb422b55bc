"""What all audio methods share: samples in, frames of every layer out, and a published folder that stands alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.feature_extraction_utils import FeatureExtractionMixin
from transformers.utils import logging

from modalities.task import Batch, Task

Panels = dict[str, tuple[Tensor, Tensor | None]]
"""{title: (audio (n, t), which of its frames are hidden or asked for, bool (n, f), or None)}"""


class AudioTask(Task):
    """A method that learns from recordings.

    Training batches: audio fp32 (n, t) at `rate` samples a second; lengths int64 (n,), the samples that are not
    padding; seeds int64 (n,), from which every mask and augmentation draws; speakers int64 (n,), -1 where unknown.
    """

    rate: int
    """Samples a second of the audio it takes."""
    hop: float
    """Seconds from one frame to the next; frame i stands for the time from i * hop to (i + 1) * hop."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    def export(self) -> PreTrainedModel:
        """The model that downstream takes: the encoder, where it is one already."""
        return self.encoder

    def feature_extractor(self) -> FeatureExtractionMixin:
        """The stock feature extractor that makes what `export()` takes of raw samples."""
        raise NotImplementedError

    def inputs(self, recordings: Sequence[NDArray[np.float32]]) -> dict[str, Tensor]:
        """What `export()` takes of raw samples at `rate`, (t,) each, made by the feature extractor."""
        made = self.feature_extractor()(list(recordings), sampling_rate=self.rate, padding=True, return_tensors="pt")
        return dict(made)

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Frame features of every layer, from raw audio (n, t): {name: (n, f, d)}, the last layer last."""
        raise NotImplementedError

    def frames(self, lengths: Tensor) -> Tensor:
        """How many frames are not padding, (n,), at least 1."""
        raise NotImplementedError

    def encode(self, batch: Batch) -> Tensor:
        """The mean over the real frames of the last layer, (n, d). batch: audio and lengths."""
        last = list(self.layers(batch["audio"], batch["lengths"]).values())[-1]
        return mean_of_real(last, self.frames(batch["lengths"]))

    def illustrate(self, batch: Batch) -> Panels:
        """What goes in and what is asked, as columns of a sheet of spectrograms with one row per recording."""
        audio = batch["audio"]
        stretches = audio.unbind(1) if audio.ndim == 3 else [audio]
        names = ["a stretch", "another stretch", *(f"stretch {k}" for k in range(3, len(stretches) + 1))]
        return {name: (stretch, None) for name, stretch in zip(names, stretches, strict=False)}

    def code_use(self, batch: Batch) -> dict[str, Tensor]:
        """How often each code or cluster stands for a frame of the batch: {name: counts (c,)}; empty without codes."""
        return {}

    def save(self, folder: Path) -> None:
        """Write `export()` so that `from_pretrained(folder)` loads it, and its feature extractor beside it."""
        logging.disable_progress_bar()
        self.export().save_pretrained(folder)
        self.feature_extractor().save_pretrained(folder)
        logging.enable_progress_bar()


def mean_of_real(frames: Tensor, count: Tensor) -> Tensor:
    """The mean of the first `count` (n,) of the frames (n, f, d): (n, d)."""
    real = torch.arange(frames.shape[1], device=frames.device) < count[:, None]  # (n, f)
    return (frames * real[:, :, None].to(frames)).sum(dim=1) / count[:, None].to(frames)
