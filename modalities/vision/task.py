"""What all vision methods share: pictures become views on the device, and downstream takes a stock encoder."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging

from modalities.task import Batch, Task
from modalities.vision.backbones import normalise, pooled
from modalities.vision.published import as_auto_model
from modalities.vision.views.pipeline import ViewConfig, make_views

Panels = dict[str, Tensor | list[str]]


class VisionTask(Task):
    """A method that learns from pictures alone.

    Training batches: images uint8 (n, 3, h, w), all of one size, and seeds int64 (n,), from which `view` draws.
    For `encode`: pixel_values (n, 3, h, w) as the published image processor makes them.
    """

    def __init__(self, views: ViewConfig) -> None:
        super().__init__()
        self.views = views

    def view(self, batch: Batch, stream: int = 0) -> Tensor:
        """One random view of every image, (n, 3, side, side) in [0, 1]; other streams give other views."""
        with torch.no_grad():
            return make_views(batch["images"], batch["seeds"], self.views, stream).to(self.dtype)

    def pixels(self, batch: Batch, stream: int = 0) -> Tensor:
        """`view` as an encoder takes it, (n, 3, side, side) in [-1, 1]."""
        return normalise(self.view(batch, stream))

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    def export(self) -> PreTrainedModel:
        """The stock model that downstream takes: the encoder, where it is one already."""
        return self.encoder

    def encode(self, batch: Batch) -> Tensor:
        """Features of whole images, (n, d)."""
        return pooled(self.export(), batch["pixel_values"])

    def save(self, folder: Path) -> None:
        """Write `export()` so that `AutoModel.from_pretrained(folder)` loads it."""
        logging.disable_progress_bar()
        as_auto_model(self.export()).save_pretrained(folder)
        logging.enable_progress_bar()

    def illustrate(self, batch: Batch) -> Panels:
        """What goes in, what is hidden and what comes out, as columns of a picture sheet with one row per image:
        {title: (n, 3, h, w) in [0, 1], or n short texts}."""
        raise NotImplementedError
