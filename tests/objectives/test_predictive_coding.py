"""Contrastive predictive coding against loops: every choice of negatives, padding, ties, gradients, precision."""

import math
from functools import partial

import torch
from torch import Tensor

from objectives.predictive_coding import among_all, among_drawn, to_be_found, within_windows
from tests.reference import predictive_coding as reference

N, T, K, D = 3, 9, 3, 4
LENGTHS = torch.tensor([9, 5, 7])
ALL = [(w, f) for w in range(N) for f in range(int(LENGTHS[w]))]


def example(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    predicted = torch.randn(N, T - K, K, D, generator=draw, dtype=torch.float64)
    frames = torch.randn(N, T, D, generator=draw, dtype=torch.float64)
    return predicted.to(dtype).requires_grad_(), frames.to(dtype).requires_grad_()


def summed(found: tuple[Tensor, Tensor], lengths: Tensor = LENGTHS) -> tuple[float, int, int]:
    losses, right = found
    asked = to_be_found(lengths, T, K)
    assert losses.shape == right.shape == asked.shape == (N, T - K, K)
    return losses[asked].sum().item(), int(asked.sum()), int((right & asked).sum())


def agree(found: tuple[float, int, int], slow: tuple[float, int, int]) -> bool:
    return abs(found[0] - slow[0]) < 1e-12 * slow[0] and found[1:] == slow[1:]


def slow(candidates: list[list[tuple[int, int]]]) -> tuple[float, int, int]:
    predicted, frames = example()
    return reference.predictive_coding(predicted.tolist(), frames.tolist(), LENGTHS.tolist(), candidates)


def padding() -> Tensor:
    return (torch.arange(T) >= LENGTHS[:, None]).expand(N, N, T)


def test_within_windows_equals_the_loop() -> None:
    predicted, frames = example()
    wanted = slow([[(w, f) for f in range(int(LENGTHS[w]))] for w in range(N)])
    assert agree(summed(within_windows(predicted, frames, LENGTHS)), wanted)
    padded = summed(within_windows(predicted, frames, torch.full((N,), T)))  # broken: padding among the negatives
    assert not agree(padded, wanted)
    early = summed(within_windows(predicted, frames.roll(1, 1), LENGTHS))  # broken: one step less ahead
    assert not agree(early, wanted)


def test_among_all_equals_the_loop() -> None:
    predicted, frames = example()
    assert agree(summed(among_all(predicted, frames, padding())), slow([ALL] * N))
    assert not agree(summed(among_all(predicted, frames, torch.zeros(N, N, T).bool())), slow([ALL] * N))
    group = torch.tensor([0, 1, 0])
    ignore = padding() | (group[:, None] != group)[:, :, None]
    wanted = slow([[(w, f) for w, f in ALL if group[w] == group[row]] for row in range(N)])
    assert agree(summed(among_all(predicted, frames, ignore)), wanted)
    assert not agree(summed(among_all(predicted, frames, padding())), wanted)
    others = padding() | torch.eye(N).bool()[:, :, None]  # the frame to be found stays though its window is ignored
    assert agree(
        summed(among_all(predicted, frames, others)), slow([[(w, f) for w, f in ALL if w != r] for r in range(N)])
    )


def test_a_share_of_the_rows_has_an_offset() -> None:
    predicted, frames = example()
    whole, right = among_all(predicted, frames, padding())
    part, found = among_all(predicted[1:], frames, padding()[1:], offset=1)
    assert torch.allclose(part, whole[1:], rtol=0, atol=1e-12) and torch.equal(found, right[1:])
    assert not torch.allclose(among_all(predicted[1:], frames, padding()[1:])[0], whole[1:])
    places = torch.arange(N * T).expand(N, T - K, -1)
    drawn, _ = among_drawn(predicted[1:], frames[1:], frames, places[1:], offset=1)
    assert torch.allclose(drawn, among_drawn(predicted, frames, frames, places)[0][1:], rtol=0, atol=1e-12)


def test_among_drawn_equals_the_loop() -> None:
    predicted, frames = example()
    places = torch.tensor([w * T + f for w, f in ALL])
    everything = places.expand(N, T - K, -1)
    assert agree(summed(among_drawn(predicted, frames, frames, everything)), slow([ALL] * N))
    draws = torch.randint(0, len(ALL), (N, 5), generator=torch.Generator().manual_seed(1))
    drawn = places[draws][:, None].expand(-1, T - K, -1)
    wanted = slow([[ALL[place] for place in row] for row in draws.tolist()])
    assert agree(summed(among_drawn(predicted, frames, frames, drawn)), wanted)
    with_none = torch.cat([drawn, torch.full_like(drawn, -1)], dim=2)
    assert agree(summed(among_drawn(predicted, frames, frames, with_none)), wanted)


def test_a_negative_that_is_the_positive_does_not_count() -> None:
    predicted, frames = example()
    itself = torch.full((N, T - K, 1), 1)  # frame 1 of the first window, to be found from its place 0
    losses, right = among_drawn(predicted, frames, frames, itself)
    assert losses[0, 0, 0] == 0 and bool(right[0, 0, 0])
    copied = frames.clone()
    copied[2, 1] = frames[0, 1]  # the broken twin: the same vector under another number is a negative, and a tie
    losses, right = among_drawn(predicted, frames, copied, torch.full((N, T - K, 1), 2 * T + 1))
    assert abs(losses[0, 0, 0].item() - math.log(2)) < 1e-12 and not right[0, 0, 0]


def test_equal_frames_are_found_by_none_and_cost_the_logarithm_of_their_number() -> None:
    predicted, frames = example()
    alike = frames[:1, :1].expand(N, T, D)
    total, count, found = summed(within_windows(predicted, alike, LENGTHS))
    asked = to_be_found(LENGTHS, T, K).sum((1, 2)).double()
    assert abs(total - float((asked * LENGTHS.double().log()).sum())) < 1e-11 and found == 0 < count


def test_what_is_asked() -> None:
    asked = to_be_found(LENGTHS, T, K)
    assert asked[0].all() and asked[0].numel() == (T - K) * K
    assert asked[1].int().tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_gradients() -> None:
    predicted, frames = example()
    places = torch.randint(-1, N * T, (N, T - K, 4), generator=torch.Generator().manual_seed(2))
    asked = to_be_found(LENGTHS, T, K)
    forms = (
        lambda p, z: within_windows(p, z, LENGTHS)[0],
        lambda p, z: among_all(p, z, padding())[0],
        lambda p, z: among_drawn(p, z, z, places)[0],
    )
    for form in forms:
        counted = partial(lambda form, p, z: torch.where(asked, form(p, z), 0.0), form)
        assert torch.autograd.gradcheck(counted, (predicted, frames), fast_mode=True)


def test_half_precision_is_widened() -> None:
    predicted, frames = example(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = within_windows(predicted, frames, LENGTHS)
    exact, _ = within_windows(predicted.double(), frames.double(), LENGTHS)
    asked = to_be_found(LENGTHS, T, K)
    assert rough.dtype == torch.float32 and torch.allclose(rough[asked].double(), exact[asked], atol=1e-5)
