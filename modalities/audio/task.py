"""What all audio methods share: samples in, frames of every layer out, and a published folder that stands alone."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.feature_extraction_utils import FeatureExtractionMixin
from transformers.utils import logging

from modalities.task import Batch, Task


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
