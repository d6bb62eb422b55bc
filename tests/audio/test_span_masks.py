"""Hidden spans: the paper's statistics, nothing hidden in padding, and rows that do not know of each other."""

import torch
from torch import Tensor

from modalities.audio.span_masks import at, draw_negatives, hidden_first, span_mask

ROWS = 1000


def drawn(frames: int, start: float = 0.065, span: int = 10, least: int = 2, rows: int = ROWS) -> Tensor:
    return span_mask(torch.arange(rows), torch.full((rows,), frames), frames, start, span, least)


def runs(mask: Tensor) -> int:
    before = torch.cat([torch.zeros(len(mask), 1, dtype=torch.bool), mask[:, :-1]], dim=1)
    return int((mask & ~before).sum())


def test_about_half_of_a_long_recording_is_hidden_in_spans_of_the_papers_mean_length() -> None:
    mask = drawn(750)  # 15 seconds: 49 % in spans of 14.7 frames on average (section 4.2)
    assert abs(mask.float().mean() - 0.49) < 0.005
    assert abs(mask.sum() / runs(mask) - 14.7) < 0.2
    other = drawn(750, start=0.08)  # the broken twin: HuBERT's probability
    assert abs(other.float().mean() - 0.49) > 0.03


def test_the_number_of_spans_is_rounded_at_random_and_at_least_the_least() -> None:
    share = torch.tensor([drawn(37, start=0.1, span=1, least=1, rows=4000).sum() / 4000])
    assert abs(share - 3.7) < 0.05
    assert (drawn(37, start=0.1, span=1, least=3).sum(1) >= 3).all()
    assert (drawn(30, least=2).sum(1) >= 11).all()  # two spans that begin at different frames
    assert drawn(10, least=2).all()  # no room for a second one
    assert not drawn(9).any()


def test_each_span_begins_anywhere_equally_often_and_ends_within_the_row() -> None:
    begins = drawn(20, start=0.05, span=4, least=1, rows=8000).float()
    first = begins.argmax(1).bincount(minlength=20)
    assert (first[17:] == 0).all() and first[:17].min() > 0.8 * 8000 / 17
    assert (begins.sum(1) == 4).all()


def test_nothing_is_hidden_in_padding() -> None:
    frames = torch.arange(ROWS) % 60 + 1
    mask = span_mask(torch.arange(ROWS), frames, 60, 0.065, 10, 2)
    assert not (mask & (torch.arange(60) >= frames[:, None])).any()
    assert (mask.any(1) == (frames >= 10)).all()


def test_a_row_is_hidden_alike_whatever_it_is_padded_to_and_beside_whom() -> None:
    seeds, frames = torch.arange(50), torch.arange(50) + 10
    together = span_mask(seeds, frames, 80, 0.065, 10, 2)
    for row in (0, 7, 49):
        alone = span_mask(seeds[row : row + 1], frames[row : row + 1], int(frames[row]), 0.065, 10, 2)
        assert torch.equal(alone[0], together[row, : frames[row]])
    other = span_mask(seeds, frames, 80, 0.065, 10, 2, stream=1)  # the broken twin
    assert not torch.equal(other, together)


def test_hidden_frames_are_put_side_by_side_in_order() -> None:
    mask = torch.tensor([[0, 1, 0, 1, 1], [0, 0, 1, 0, 0]]).bool()
    places, real = hidden_first(mask)
    assert places[0].tolist() == [1, 3, 4] and int(places[1, 0]) == 2
    assert real.tolist() == [[True, True, True], [True, False, False]]
    frames = torch.arange(10.0).view(2, 5, 1)
    assert at(frames, places)[0, :, 0].tolist() == [1, 3, 4] and float(at(frames, places)[1, 0, 0]) == 7
    places, real = hidden_first(torch.zeros(2, 5, dtype=torch.bool))
    assert places.shape == (2, 1) and not real.any()


def test_negatives_are_other_hidden_frames_each_as_often() -> None:
    seeds, count = torch.arange(4) * 7919, torch.tensor([6, 2, 1, 0])
    found = draw_negatives(seeds, count, 6, 5000, 2)
    own = torch.arange(6)[:, None]
    assert not (found[0] == own).any() and found[0].max() == 5
    often = torch.stack([row.bincount(minlength=6) for row in found[0]])
    assert often[~torch.eye(6, dtype=torch.bool)].min() > 900
    assert found[1, 0].unique().tolist() == [1] and found[1, 1].unique().tolist() == [0]
    assert not found[2:, 0].any()
    alone = draw_negatives(seeds[1:2], count[1:2], 2, 5000, 2)  # whatever the other rows have
    assert torch.equal(alone[0], found[1, :2])
