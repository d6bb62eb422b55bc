"""Contrast between one vector of a picture and all places of a map: AMDIM, Bachman et al. 2019, arXiv 1906.00910."""

import torch
from torch import Tensor

from objectives.contrastive import own_columns
from objectives.precision import full_precision


@full_precision
def local_nce(
    source: Tensor, places: Tensor, clip: float, all_places: Tensor | None = None, offset: int | None = None
) -> tuple[Tensor, Tensor]:
    """Tell the places of a picture's own map from those of all other pictures' maps.

    Each place of the own map is a positive by itself, against all places of other maps; the other places of the own map
    take no part. Scores are dot products divided by sqrt(d) and clipped softly, clip * tanh(score / clip), as in the
    released code.

    Args:
        source: (n, d), a vector of each picture.
        places: (n, p, d), the map of another view of the same pictures.
        clip: largest score.
        all_places: (m, p, d), maps of all processes, m > 1; `places` if left out.
        offset: place of the first local row among them.

    Returns:
        The mean over rows and places, in nats, and the mean of all squared scores before they are clipped.
    """
    all_places = places if all_places is None else all_places
    own = own_columns(len(source), len(all_places), offset, source.device)
    assert len(all_places) > 1, "one picture has no negatives"
    scores = source @ all_places.flatten(0, 1).T / source.shape[1] ** 0.5  # (n, m*p)
    clipped = (clip * torch.tanh(scores / clip)).view(len(source), *all_places.shape[:2])  # (n, m, p)
    mine = own[:, None] == torch.arange(len(all_places), device=source.device)  # (n, m)
    positive = clipped[torch.arange(len(source), device=source.device), own]  # (n, p)
    negative = clipped.masked_fill(mine[:, :, None], float("-inf")).flatten(1).logsumexp(1)  # (n,)
    return (torch.logaddexp(positive, negative[:, None]) - positive).mean(), scores.square().mean()
