"""Heads that turn features into embeddings. They are left behind: downstream takes the features before them."""

import itertools
from collections.abc import Sequence
from typing import Literal

from torch import nn

from modalities.vision.batch_norm import with_global_statistics

Norm = Literal["batch", "layer", "none"]
LastNorm = Literal["none", "affine", "plain"]


def mlp(
    widths: Sequence[int], norm: bool | Norm = True, last_norm: LastNorm = "none", last_bias: bool = True
) -> nn.Sequential:
    """Linear layers from widths[0] to widths[-1] with ReLU between them.

    Args:
        widths: of the input, of every hidden layer and of the output.
        norm: after every hidden layer a batch norm over all processes ("batch" or True), a layer norm, or none (False).
        last_norm: a batch norm after the output too; "plain" has neither scale nor shift.
        last_bias: False where the loss does not see a shift of all embeddings, which would leave the last bias without
            any gradient.
    """
    kind = norm if isinstance(norm, str) else "batch" if norm else "none"
    layers: list[nn.Module] = []
    for place, (wide, out) in enumerate(itertools.pairwise(widths), 1):
        last = place == len(widths) - 1
        batch_norm = last_norm != "none" if last else kind == "batch"
        # A batch norm would take a bias away again; a plain one leaves it without any gradient.
        layers.append(nn.Linear(wide, out, bias=not batch_norm and (last_bias or not last)))
        if batch_norm:
            layers.append(nn.BatchNorm1d(out, affine=not (last and last_norm == "plain")))
        if not last:
            layers.extend([nn.LayerNorm(out)] if kind == "layer" else [])
            layers.append(nn.ReLU(inplace=True))
    return with_global_statistics(nn.Sequential(*layers))
