"""InfoNCE of frames to come: contrastive predictive coding (van den Oord 2018, arXiv 1807.03748), all steps at once.

Where frame i of a window was heard, step k asks for frame i + k among frames that are not it. The scores are plain
products, in fp32 (fp64 for fp64) under autocast. All functions return (losses, right), both (n, f, k): nats, and
whether the frame to be found scores above every other. Which of them count is `to_be_found`'s answer.
"""

import torch
from torch import Tensor

from objectives.precision import full_precision


def to_be_found(lengths: Tensor, frames: int, steps: int) -> Tensor:
    """Which predictions have a frame to be found: (n, frames - steps, steps) bool.

    Args:
        lengths: (n,), frames that are not padding.
        frames: in each window. The last `steps` predict nothing, so that every step is asked equally often.
        steps: 1, 2, ... ahead.
    """
    place = torch.arange(frames - steps, device=lengths.device)[:, None]
    ahead = torch.arange(1, steps + 1, device=lengths.device)
    return place + ahead < lengths[:, None, None]


def found_ahead(frames: Tensor, steps: int) -> Tensor:
    """For each place the frames that come next: (n, t, d) -> (n, t - steps, steps, d), without a copy."""
    return frames[:, 1:].unfold(1, steps, 1).movedim(3, 2)


@full_precision
def within_windows(predicted: Tensor, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The negatives are all other frames of the window.

    Args:
        predicted: (n, t - k, k, d), what is expected 1, ..., k steps ahead of each place.
        frames: (n, t, d).
        lengths: (n,), frames that are not padding.

    Returns:
        Losses and whether they were found.
    """
    n, f, steps, _ = predicted.shape
    t = frames.shape[1]
    scores = (predicted.flatten(1, 2) @ frames.transpose(1, 2)).view(n, f, steps, t)
    place = torch.arange(f, device=frames.device)[:, None] + torch.arange(1, steps + 1, device=frames.device)
    padding = torch.arange(t, device=frames.device) >= lengths[:, None]  # (n, t)
    return _picked(scores.masked_fill(padding[:, None, None], float("-inf")), place.expand(n, -1, -1))


@full_precision
def among_all(predicted: Tensor, frames: Tensor, ignore: Tensor, offset: int = 0) -> tuple[Tensor, Tensor]:
    """The negatives are all frames of all windows, but for those to be ignored.

    Args:
        predicted: (n, t - k, k, d).
        frames: (N, t, d) of all processes.
        ignore: (n, N, t) bool, what cannot be a negative of a window: padding, other speakers. Positives always stay.
        offset: the place of the first window of `predicted` among the N.

    Returns:
        Losses and whether they were found.
    """
    n, f, steps, _ = predicted.shape
    t, device = frames.shape[1], frames.device
    candidates, skip = frames.flatten(0, 1), ignore.flatten(1)[:, None]  # (N t, d), (n, 1, N t)
    first = (torch.arange(n, device=device)[:, None] + offset) * t + torch.arange(f, device=device)  # (n, f)
    everyone, parts = torch.arange(len(candidates), device=device), []
    for step in range(steps):
        place = first + step + 1
        own = place[:, :, None] == everyone  # (n, f, N t)
        scores = predicted[:, :, step] @ candidates.T
        parts.append(_picked(scores.masked_fill(skip & ~own, float("-inf")), place))
    losses, right = zip(*parts, strict=True)
    return torch.stack(losses, dim=2), torch.stack(right, dim=2)


@full_precision
def among_drawn(
    predicted: Tensor, frames: Tensor, candidates: Tensor, drawn: Tensor, offset: int = 0
) -> tuple[Tensor, Tensor]:
    """The negatives are drawn, the same ones for all steps from one place.

    Args:
        predicted: (n, t - k, k, d).
        frames: (n, t, d), the windows that the predictions are about.
        candidates: (N, t, d), the windows of all processes.
        drawn: (n, t - k, m) long, places among the N t candidates, or -1 for none. One that is the very frame to be
            found does not count.
        offset: the place of the first window of `frames` among the N.

    Returns:
        Losses and whether they were found.
    """
    n, f, steps, _ = predicted.shape
    t, device = frames.shape[1], frames.device
    others = candidates.flatten(0, 1)[drawn.clamp(min=0)]  # (n, f, m, d)
    scores = predicted @ others.transpose(2, 3)  # (n, f, k, m)
    first = (torch.arange(n, device=device)[:, None] + offset) * t + torch.arange(f, device=device)  # (n, f)
    own = first[:, :, None] + torch.arange(1, steps + 1, device=device)  # (n, f, k)
    unfit = (drawn[:, :, None] == own[..., None]) | (drawn < 0)[:, :, None]
    positive = (predicted * found_ahead(frames, steps)).sum(dim=3, keepdim=True)
    scores = torch.cat([positive, scores.masked_fill(unfit, float("-inf"))], dim=3)  # (n, f, k, 1 + m)
    return _picked(scores, torch.zeros_like(own))


def _picked(scores: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """scores (..., m), place (...) of the right one."""
    positive = scores.gather(-1, place[..., None])
    # A tie is not found: frames that are all alike are no success.
    right = (scores.detach() >= positive).sum(dim=-1) == 1
    return scores.logsumexp(dim=-1) - positive[..., 0], right
