"""Cosine contrastive objectives: which of the keys belongs to this query?

All normalise their embeddings, so that scaling one changes nothing; all work in fp32 (fp64 for fp64) under autocast;
all return the mean loss over the rows given as queries.

On several processes, either gather everything first, which is exact and needs no further argument:

    clip(gather(image), gather(text), logit_scale, gather(ids))

or keep local queries against gathered keys, which is exact as well and divides the work by the number of ranks:

    clip(image, text, logit_scale, ids, all_image=gather(image), all_text=gather(text), all_ids=gather(ids),
         offset=rank() * len(image))

`objectives.gather` says why. `offset` is the place of the first local row among the gathered ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision


def own_columns(n: int, m: int, offset: int | None, device: torch.device) -> Tensor:
    """For each of n local rows, its own place among m gathered rows.

    Returns:
        (n,) long: offset, offset + 1, ...

    Raises:
        ValueError: if n differs from m and no offset is given, or the rows do not fit.
    """
    if offset is None:
        if n != m:
            raise ValueError(f"{n} local rows against {m} gathered rows need offset=rank() * {n}.")
        offset = 0
    if offset < 0 or offset + n > m:
        raise ValueError(f"{n} local rows at offset {offset} do not fit into {m} gathered rows; is it rank() * {n}?")
    return torch.arange(offset, offset + n, device=device)


def positives(positive: Tensor | None, queries: Tensor, keys: Tensor) -> Tensor:
    """The column of each query's key: as given, or 0 .. n-1.

    Raises:
        ValueError: if it is not given and n differs from m.
    """
    if positive is not None:
        return positive
    if len(queries) != len(keys):
        counts = f"{len(queries)} queries and {len(keys)} keys"
        raise ValueError(f"info_nce got {counts}; pass positive, the column of the right key for each query.")
    return torch.arange(len(queries), device=queries.device)


def gathered_ids(ids: Tensor | None, all_ids: Tensor | None, m: int) -> Tensor | None:
    """The ids of the m keys: `all_ids`, or `ids` where the rows are their own keys.

    Raises:
        ValueError: if only one of the two was gathered.
    """
    found = ids if all_ids is None else all_ids
    if (ids is None) != (found is None) or (found is not None and len(found) != m):
        count = "no" if found is None or ids is None else str(len(found))
        raise ValueError(f"{m} keys came with {count} ids; pass ids and all_ids=gather(ids), or neither.")
    return found


@full_precision
def info_nce(
    queries: Tensor,
    keys: Tensor,
    temperature: float | Tensor,
    positive: Tensor | None = None,
    ignore: Tensor | None = None,
    *,
    normalize: bool = True,
) -> Tensor:
    """InfoNCE (van den Oord 2018, arXiv 1807.03748): cross-entropy of picking the positive key.

    Args:
        queries: (n, d).
        keys: (m, d).
        temperature: divides the scores.
        positive: (n,) long, the column of each query's key; 0 .. n-1 if left out, which needs m = n.
        ignore: (n, m) bool, keys left out of a query's denominator. The positive is never left out.
        normalize: cosine scores. False gives plain dot products, as CPC's bilinear score needs.

    Returns:
        The mean over queries, in nats.

    Raises:
        ValueError: if n differs from m and `positive` is missing.
    """
    positive = positives(positive, queries, keys)
    if normalize:
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    logits = queries @ keys.T / temperature  # (n, m)
    if ignore is not None:
        chosen = positive[:, None] == torch.arange(len(keys), device=logits.device)  # (n, m)
        logits = logits.masked_fill(ignore & ~chosen, float("-inf"))
    return F.cross_entropy(logits, positive)


@full_precision
def nt_xent(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor,
    *,
    all_z1: Tensor | None = None,
    all_z2: Tensor | None = None,
    offset: int | None = None,
) -> Tensor:
    """NT-Xent (SimCLR, Chen 2020, arXiv 2002.05709): find the other view among the 2n - 1 other embeddings.

    Args:
        z1, z2: (n, d), two views of the same n examples.
        temperature: divides the cosines.
        all_z1, all_z2: (m, d), the gathered views; the local ones if left out.
        offset: see the module.

    Returns:
        The mean over the 2n embeddings, in nats; log(2m - 1) when all are equal.
    """
    all_z1, all_z2 = z1 if all_z1 is None else all_z1, z2 if all_z2 is None else all_z2
    own = own_columns(len(z1), len(all_z1), offset, z1.device)
    itself, other = torch.cat([own, own + len(all_z1)]), torch.cat([own + len(all_z1), own])  # (2n,), (2n,)
    columns = torch.arange(2 * len(all_z1), device=z1.device)
    keys = torch.cat([all_z1, all_z2])  # (2m, d)
    return info_nce(torch.cat([z1, z2]), keys, temperature, other, itself[:, None] == columns)


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
) -> Tensor:
    """CLIP (Radford 2021, arXiv 2103.00020): match images to texts and texts to images.

    Args:
        image, text: (n, d), pair i is image[i] with text[i].
        logit_scale: () the learnt *logarithm* of the scale, log(1 / 0.07) at first. Clamp the parameter to
            [0, log 100] after the optimiser's step, never here: a clamp after the exponential stops its gradient.
        ids: (n,) long. Pairs of one id (several captions of one image) are not each other's negatives: they are left
            out of the denominators.
        all_image, all_text, all_ids: (m, d), (m, d), (m,), gathered; the local ones if left out.
        offset: see the module.

    Returns:
        The mean of the two directions, in nats; log(m) when all embeddings are equal.
    """
    all_image, all_text = image if all_image is None else all_image, text if all_text is None else all_text
    own = own_columns(len(image), len(all_text), offset, image.device)
    all_ids = gathered_ids(ids, all_ids, len(all_text))
    same = None if ids is None or all_ids is None else ids[:, None] == all_ids  # (n, m)
    temperature = (-logit_scale).exp()
    to_text = info_nce(image, all_text, temperature, own, same)
    to_image = info_nce(text, all_image, temperature, own, same)
    return (to_text + to_image) / 2


@full_precision
def siglip(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    bias: Tensor,
    ids: Tensor | None = None,
    *,
    all_text: Tensor | None = None,
    all_ids: Tensor | None = None,
    offset: int | None = None,
) -> Tensor:
    """SigLIP (Zhai 2023, arXiv 2303.15343): is this image with that text a pair? Asked of each by itself.

    Args:
        image, text: (n, d), pair i is image[i] with text[i].
        logit_scale: () the learnt logarithm of the scale, log 10 at first.
        bias: () added to the logits, -10 at first.
        ids: (n,) long. Two different pairs of one id are left out: neither a drawn pair nor a fair negative.
        all_text, all_ids: (m, d), (m,), gathered; the local ones if left out. Images need no gathering, for every
            image-text combination is scored once, by the rank that holds the image.
        offset: see the module.

    Returns:
        The sum over all n * m combinations, divided by n, as in the paper.
    """
    all_text = text if all_text is None else all_text
    own = own_columns(len(image), len(all_text), offset, image.device)
    all_ids = gathered_ids(ids, all_ids, len(all_text))
    cosines = F.normalize(image, dim=-1) @ F.normalize(all_text, dim=-1).T  # (n, m)
    logits = logit_scale.exp() * cosines + bias
    pair = own[:, None] == torch.arange(len(all_text), device=image.device)  # (n, m)
    losses = -F.logsigmoid(torch.where(pair, logits, -logits))
    if ids is not None and all_ids is not None:
        losses = losses.masked_fill((ids[:, None] == all_ids) & ~pair, 0.0)
    return losses.sum() / len(image)


@full_precision
def sup_con(
    z: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    *,
    all_z: Tensor | None = None,
    all_labels: Tensor | None = None,
    offset: int | None = None,
) -> Tensor:
    """SupCon (Khosla 2020, arXiv 2004.11362), the form L_out: every embedding of the same class is a positive.

    Args:
        z: (n, d), all views below one another.
        labels: (n,) long, repeated for each view.
        temperature: divides the cosines.
        all_z, all_labels: (m, d), (m,), gathered; the local ones if left out. Exact where every embedding has a
            positive, such as its other view: else the mean is over a number of anchors that differs between ranks, and
            `z` and `labels` must be gathered instead.
        offset: see the module.

    Returns:
        The mean over anchors that have a positive, in nats; the others are left out, and 0 stands for a batch without
        any.
    """
    all_z = z if all_z is None else all_z
    own = own_columns(len(z), len(all_z), offset, z.device)
    all_labels = gathered_ids(labels, all_labels, len(all_z))
    assert all_labels is not None
    itself = own[:, None] == torch.arange(len(all_z), device=z.device)  # (n, m)
    positive = (labels[:, None] == all_labels) & ~itself  # (n, m)
    count = positive.sum(dim=1)
    cosines = F.normalize(z, dim=-1) @ F.normalize(all_z, dim=-1).T  # (n, m)
    log_p = F.log_softmax((cosines / temperature).masked_fill(itself, float("-inf")), dim=1)
    per_anchor = -log_p.masked_fill(~positive, 0.0).sum(dim=1) / count.clamp(min=1)  # (n,)
    return per_anchor.sum() / (count > 0).sum().clamp(min=1)
