"""Watches a codebook: one of which all frames take the same code teaches nothing, and its loss falls to nothing."""

import warnings

import torch
from torch import Tensor, nn

from objectives.gather import rank


class CodebookWatch(nn.Module):
    """Counts the updates in a row that have used too few codes; warns at half of `patience`, and ends the run there.

    Its state are buffers, so that a resumed run counts on.
    """

    perplexity: Tensor
    poor: Tensor

    def __init__(self, least: float, patience: int) -> None:
        """least: codes in effect (perplexity) that must be in use. patience: updates; 0 never ends the run."""
        super().__init__()
        self.least, self.patience = least, patience
        self.register_buffer("perplexity", torch.tensor(least))
        self.register_buffer("poor", torch.zeros((), dtype=torch.int64))

    def see(self, perplexity: Tensor) -> None:
        """Remember what the batch has used."""
        self.perplexity.copy_(perplexity.detach())

    def after_step(self) -> None:
        """Count the update.

        Raises:
            ValueError: after `patience` updates in a row.
        """
        self.poor.copy_(torch.where(self.perplexity < self.least, self.poor + 1, 0))
        poor = int(self.poor)
        if not self.patience or poor < max(1, self.patience // 2):
            return
        words = f"The codebook has collapsed: {float(self.perplexity):.1f} codes in use for {poor} updates"
        if poor >= self.patience:
            raise ValueError(f"{words}; lower train.lr or raise task.diversity, and start in another folder.")
        if poor == max(1, self.patience // 2) and rank() == 0:
            warnings.warn(f"{words}; after {self.patience} the run ends.", stacklevel=2)
