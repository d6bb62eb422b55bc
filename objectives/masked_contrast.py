"""InfoNCE of hidden frames among others of the same recording, told apart by their codes: wav2vec 2.0 (Baevski et al.
2020, arXiv 2006.11477)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision


@full_precision
def masked_contrast(
    predicted: Tensor, target: Tensor, codes: Tensor, negatives: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding each frame's target among its negatives by cosine, and whether it is the nearest.

    A negative of the same codes as the target is left out of the loss; as an answer it is wrong, or a collapsed
    codebook would look like a perfect one.

    Args:
        predicted, target: (n, m, d).
        codes: (n, m, g) long.
        negatives: (n, m, k) long, places among the m.

    Returns:
        (n, m) in nats, and (n, m) zeros and ones.
    """
    cosines = F.normalize(predicted, dim=-1) @ F.normalize(target, dim=-1).transpose(1, 2)  # (n, m, m)
    same = (codes[:, :, None] == codes[:, None]).all(-1)  # (n, m, m)
    own = cosines.diagonal(dim1=1, dim2=2)[:, :, None] / temperature  # (n, m, 1)
    others = (cosines / temperature).masked_fill(same, float("-inf")).gather(2, negatives)  # (n, m, k)
    with torch.no_grad():
        right = cosines.gather(2, negatives).amax(-1) < cosines.diagonal(dim1=1, dim2=2)
    return torch.cat([own, others], dim=2).logsumexp(2) - own.squeeze(2), right.to(cosines)
