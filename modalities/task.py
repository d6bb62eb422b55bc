"""What a method is: an encoder, a loss over a batch, and the state that moves with it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

Batch = dict[str, Tensor]


class Task(nn.Module):
    """One self-supervised method. A subclass lives in one file, named after the method.

    A method whose gradient touches a few rows of large tables may bring its own step, `update(batch, rate) -> scalars`,
    which moves the weights in place: `fit` then calls that instead of `forward`, the backward pass and the optimizer.
    On several processes it must do on each what one process would do with the whole batch.

    Everything that a method must remember (teacher, queue and its pointer, centre, prototypes) is a parameter,
    submodule or registered buffer, so that a checkpoint carries it. Batches are dicts of tensors with leading
    dimension n.
    """

    encoder: PreTrainedModel
    """What downstream keeps, and what `save` writes."""

    coupled: bool = False
    """Whether examples meet in the loss (contrast, cross-correlation, balanced clusters). A coupled task that is to be
    trained in micro-batches also has `embed(batch) -> tuple of (n, ...)` and `loss_from(*embeddings) -> dict`, and
    `forward` is the one after the other."""

    lr_scales: Mapping[str, float] = {}
    """Factors on the learning rate of submodules or parameters, by name: of a discriminator, say. Not named, 1."""

    steady: Sequence[str] = ()
    """Names of submodules or parameters whose learning rate stays at its peak, whatever the schedule."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss": scalar} plus scalars to log; with "count" (scalar) where the loss is a mean over that many tokens
        or frames instead of over rows."""
        raise NotImplementedError

    def encode(self, batch: Batch) -> Any:
        """Features for downstream use, (n, d), or a dict of them where the encoder has several."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called after each update with the share of the run that is done: moving averages, queues, clamps."""

    def resting(self, progress: float) -> Iterable[nn.Parameter]:
        """Weights that the update at this share of the run leaves alone. They get no gradient at all: under one of
        zeros they would still decay, and move on by their momentum."""
        return ()

    def diagnose(self, scalars: Mapping[str, float], progress: float) -> str:
        """What is wrong with a run that logs these scalars (means over all processes), in one sentence that ends it and
        says what to try; nothing while it is well. Every process asks with the same numbers."""
        return ""

    def save(self, folder: Path) -> None:
        """Write the encoder so that the stock class's `from_pretrained(folder)` loads it."""
        logging.disable_progress_bar()
        self.encoder.save_pretrained(folder)
        logging.enable_progress_bar()
