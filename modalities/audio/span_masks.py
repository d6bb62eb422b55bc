"""Spans of frames to hide, drawn from the rows' seeds: wav2vec 2.0 (arXiv 2006.11477) and HuBERT (arXiv 2106.07447)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import uniform_on_device


def span_mask(
    seeds: Tensor, frames: Tensor, length: int, start: float, span: int, least: int, stream: int = 0
) -> Tensor:
    """Which frames are hidden: (n, length) bool.

    Of the frames of each row, a share of `start` is drawn without replacement to begin a span, rounded up or down at
    random; spans may overlap, and end within the row.

    Args:
        seeds: int64 (n,); row i depends on `seeds[i]` and `frames[i]` alone.
        frames: int64 (n,), those that are not padding.
        length: frames of the batch, at least as many.
        start: 0.065 in wav2vec 2.0, 0.08 in HuBERT.
        span: frames of a span, 10 in both. Rows that are shorter have none hidden.
        least: spans that each row has at least, where they fit.
        stream: see `modalities.draws`.
    """
    # The first draw rounds: a row's numbers must not depend on how long the others are.
    draws = uniform_on_device(seeds, 1 + length, stream)
    wanted = (start * frames + draws[:, 0]).floor().long().clamp(min=least)  # (n,)
    places = (frames - span + 1).clamp(min=0)  # where a span may begin
    barred = torch.arange(length, device=seeds.device) >= places[:, None]  # (n, length)
    order = draws[:, 1:].masked_fill(barred, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    begins = (order < torch.minimum(wanted, places)[:, None]).float()  # (n, length)
    return F.max_pool1d(F.pad(begins, (span - 1, 0)), span, stride=1).bool()


def hidden_first(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden frames of each row, in order, side by side.

    Args:
        mask: (n, f) bool.

    Returns:
        places (n, m) long, where m is the most that a row has (at least 1), frames of the row; and which of them are
        hidden ones, (n, m) bool: a row with fewer is filled up.
    """
    count = mask.sum(1)
    most = max(1, int(count.max()))
    places = (~mask).byte().argsort(dim=1, stable=True)[:, :most]
    return places, torch.arange(most, device=mask.device) < count[:, None]


def at(frames: Tensor, places: Tensor) -> Tensor:
    """The frames (n, f, d) at `places` (n, m) of their rows: (n, m, d)."""
    return frames.gather(1, places[:, :, None].expand(-1, -1, frames.shape[2]))


def draw_negatives(seeds: Tensor, count: Tensor, most: int, negatives: int, stream: int) -> Tensor:
    """For each of the first `count` (n,) hidden frames of a row, others of them with repeats, never itself:
    (n, most, negatives) long. A frame without others gets itself, which as a code of its own is no negative."""
    draws = uniform_on_device(seeds, most * negatives, stream).view(len(seeds), most, negatives)
    others = (count - 1).clamp(min=0)[:, None, None]
    found = (draws * others).long()
    own = torch.arange(most, device=seeds.device)[:, None]
    return torch.minimum(found + (found >= own), others)
