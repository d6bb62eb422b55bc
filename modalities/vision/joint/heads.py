"""Heads that turn features into embeddings. They are left behind: downstream takes the features before them."""

import itertools
from collections.abc import Sequence
from typing import Literal

from torch import nn

from modalities.vision.batch_norm import with_global_statistics

LastNorm = Literal["none", "affine", "plain"]


def mlp(widths: Sequence[int], norm: bool = True, last_norm: LastNorm = "none") -> nn.Sequential:
    """Linear layers from widths[0] to widths[-1] with ReLU between them.

    Args:
        widths: of the input, of every hidden layer and of the output.
        norm: a batch norm over all processes after every hidden layer.
        last_norm: one after the output too; "plain" has neither scale nor shift.
    """
    layers: list[nn.Module] = []
    for place, (wide, out) in enumerate(itertools.pairwise(widths), 1):
        last = place == len(widths) - 1
        normed = last_norm != "none" if last else norm
        # A batch norm would take a bias away again; a plain one leaves it without any gradient.
        layers.append(nn.Linear(wide, out, bias=not normed))
        if normed:
            layers.append(nn.BatchNorm1d(out, affine=not (last and last_norm == "plain")))
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return with_global_statistics(nn.Sequential(*layers))
