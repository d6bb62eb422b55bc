"""InfoNCE, CLIP and NT-Xent in tiles: the same loss and gradients in O(n d) memory instead of O(n m).

The signatures are those of `objectives.contrastive`, whose long version of each function this must equal, except that
ids replace an (n, m) mask: a key with its query's id is left out of the denominator, unless it is the positive.
`objectives.product_cross_entropy` does the work and says how. No second derivative: create_graph raises an error.
"""

import torch
from torch import Tensor

from objectives.contrastive import gathered_ids, own_columns, positives
from objectives.precision import full_precision
from objectives.product_cross_entropy import Logits, product_cross_entropy


@full_precision
def info_nce(
    queries: Tensor,
    keys: Tensor,
    temperature: float | Tensor,
    positive: Tensor | None = None,
    *,
    query_ids: Tensor | None = None,
    key_ids: Tensor | None = None,
    normalize: bool = True,
    tile: int | None = None,
) -> Tensor:
    """InfoNCE (arXiv 1807.03748) in tiles; see `contrastive.info_nce`.

    Args:
        queries, keys: (n, d), (m, d).
        temperature: divides the scores.
        positive: (n,) long; 0 .. n-1 if left out, which needs m = n.
        query_ids, key_ids: (n,), (m,) long: a key with its query's id is no negative.
        normalize: cosine scores.
        tile: side of a tile in rows; 512 on a CPU, whose cache then holds it, 4096 elsewhere.
    """
    positive = positives(positive, queries, keys)
    if (query_ids is None) != (key_ids is None):
        raise ValueError("info_nce got ids for one side only; pass both query_ids and key_ids, or neither.")
    scale = 1.0 / torch.as_tensor(temperature, dtype=queries.dtype, device=queries.device)
    logits = Logits(queries, keys, scale, positive, query_ids, key_ids)
    losses, _ = product_cross_entropy(logits, both=False, normalize=normalize, tile=tile)
    return losses.mean()


@full_precision
def nt_xent(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor,
    *,
    all_z1: Tensor | None = None,
    all_z2: Tensor | None = None,
    offset: int | None = None,
    tile: int | None = None,
) -> Tensor:
    """NT-Xent (arXiv 2002.05709) in tiles; see `contrastive.nt_xent`."""
    all_z1, all_z2 = z1 if all_z1 is None else all_z1, z2 if all_z2 is None else all_z2
    m = len(all_z1)
    own = own_columns(len(z1), m, offset, z1.device)
    other = torch.cat([own + m, own])  # (2n,)
    # The only key that shares a query's example and is not its positive is the query itself.
    example, examples = own.repeat(2), torch.arange(m, device=z1.device).repeat(2)  # (2n,), (2m,)
    queries, keys = torch.cat([z1, z2]), torch.cat([all_z1, all_z2])
    return info_nce(queries, keys, temperature, other, query_ids=example, key_ids=examples, tile=tile)


@full_precision
def clip(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    ids: Tensor | None = None,
    *,
    all_image: Tensor | None = None,
    all_text: Tensor | None = None,
    all_ids: Tensor | None = None,
    offset: int | None = None,
    tile: int | None = None,
) -> Tensor:
    """CLIP (arXiv 2103.00020) in tiles; see `contrastive.clip`. Without gathered keys one product serves both ways."""
    scale = logit_scale.exp()
    if all_image is not None or all_text is not None:
        all_image, all_text = image if all_image is None else all_image, text if all_text is None else all_text
        own = own_columns(len(image), len(all_text), offset, image.device)
        all_ids = gathered_ids(ids, all_ids, len(all_text))
        to_text = info_nce(image, all_text, 1 / scale, own, query_ids=ids, key_ids=all_ids, tile=tile)
        to_image = info_nce(text, all_image, 1 / scale, own, query_ids=ids, key_ids=all_ids, tile=tile)
        return (to_text + to_image) / 2
    own = own_columns(len(image), len(text), offset, image.device)
    ids = gathered_ids(ids, all_ids, len(text))
    logits = Logits(image, text, scale, own, ids, ids)
    to_text, to_image = product_cross_entropy(logits, both=True, normalize=True, tile=tile)
    return (to_text.mean() + to_image.mean()) / 2
