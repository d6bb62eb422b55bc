"""Prediction of another view: BYOL (Grill 2020, arXiv 2006.07733) and SimSiam (Chen 2020, arXiv 2011.10566)."""

import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision


@full_precision
def cosine_gap(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - the mean cosine: BYOL's loss is twice this, and SimSiam's is this less 1.

    Nothing here keeps embeddings from being all equal: the caller decides by which way no gradient flows.

    Args:
        prediction, target: (n, d), row i of one belongs to row i of the other. Normalised here.

    Returns:
        Between 0 and 2: 0 where all point the same way, 1 for unrelated directions.
    """
    return 1 - F.cosine_similarity(prediction, target, dim=-1, eps=1e-12).mean()
