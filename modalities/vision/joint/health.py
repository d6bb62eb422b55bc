"""Signs of health of a run that compares embeddings, and in plain words what a bad one means.

Collapse is silent: a loss may fall all the way while every picture gets the same embedding.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from objectives.diagnostics import alignment, effective_rank, embedding_std, uniformity

_FLAT = 0.05  # of the deviation of embeddings that are spread evenly


@torch.no_grad()
def health(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """Scalars to log of embeddings (n, d) of two views of the same n > 1 pictures (of this process).

    embedding_std is in units of 1 / sqrt(d): 1 where embeddings are spread evenly over the sphere, 0 when all are one.
    The others: see `objectives.diagnostics`.
    """
    return {
        "embedding_std": embedding_std(z1) * z1.shape[1] ** 0.5,
        "effective_rank": effective_rank(z1),
        "alignment": alignment(z1, z2),
        "uniformity": uniformity(z1),
    }


def verdict(scalars: Mapping[str, float]) -> str:
    """What these scalars say is wrong, in one sentence with a remedy; nothing where all is well."""
    spread = scalars.get("embedding_std", 1.0)
    if spread < _FLAT:
        return (
            f"all pictures get nearly the same embedding (their deviation is {spread:.3f} of that of evenly spread "
            "ones), so the run has collapsed and teaches nothing; lower train.lr, take a longer train.warmup or a "
            "larger train.batch_size, or give views that differ more."
        )
    return ""
