"""Views of a text by what is taken from its embeddings: cutoff (Shen et al. 2020, arXiv 2009.13818), shuffling."""

from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from modalities.draws import uniform_on_device

FIRST, SECOND = 1 << 20, (1 << 20) + 1  # streams of two views, far from those of dropout
View = Literal["none", "token", "feature", "span", "shuffle"]
"""Nothing, tokens, dimensions or one run of tokens set to zero, or the tokens in another order (arXiv 2105.11741)."""


def view(embeddings: Tensor, mask: Tensor, seeds: Tensor, kind: View, share: float, stream: int) -> Tensor:
    """One view of each text. The first and last token, which tokenizers put around a text, stay as they are, but for
    `feature`, which takes its dimensions from every token.

    embeddings: (n, t, d), of words, before positions are added, so that a token cut off leaves its place behind (in the
    paper the place goes, too). mask: (n, t), with padding at the end, on which nothing depends. seeds: int64 (n,).
    share: of the tokens or dimensions that are cut, at least one where there are two. Equal inputs give equal views;
    each use needs its own `stream`.
    """
    if kind == "none":
        return embeddings
    n, t, d = embeddings.shape
    place = torch.arange(t, device=mask.device)
    inside = (place > 0) & (place < mask.sum(1, keepdim=True) - 1)  # (n, t)
    words = inside.sum(1, keepdim=True)  # (n, 1)
    count = (share * words).round().long().clamp_min(1).minimum((words - 1).clamp_min(0))  # (n, 1)
    if kind == "feature":
        drawn = uniform_on_device(seeds, d, stream)  # (n, d)
        return embeddings.masked_fill((_ranks(drawn) < max(1, round(share * d)))[:, None], 0.0)
    if kind == "span":
        first = 1 + (uniform_on_device(seeds, 1, stream) * (words - count + 1)).long()  # (n, 1)
        return embeddings.masked_fill(((place >= first) & (place < first + count) & inside)[:, :, None], 0.0)
    # 2 is above every draw: the others come after the words.
    ranks = _ranks(uniform_on_device(seeds, t, stream).masked_fill(~inside, 2.0))  # (n, t)
    if kind == "token":
        return embeddings.masked_fill((ranks < count)[:, :, None], 0.0)
    source = torch.where(inside, ranks + 1, place)  # (n, t)
    return embeddings.gather(1, source[:, :, None].expand(n, t, d))


def read_view(
    encoder: PreTrainedModel, ids: Tensor, mask: Tensor, seeds: Tensor, kind: View, share: float, stream: int
) -> Tensor:
    """Tokens of one view of each text as `encoder` understands them: ids and mask (n, t) -> (n, t, d)."""
    words = view(encoder.get_input_embeddings()(ids), mask, seeds, kind, share, stream)
    return encoder(inputs_embeds=words, attention_mask=mask).last_hidden_state  # type: ignore[no-any-return]


def _ranks(x: Tensor) -> Tensor:
    """Place of each number in its row's order, (n, t)."""
    return x.argsort(dim=1, stable=True).argsort(dim=1)
