"""The queue against a plain list, over its end, at its limits and through a checkpoint."""

import pytest
import torch
from torch import Tensor

from modalities.vision.joint.queue import Queue


def rows(n: int, start: int) -> Tensor:
    """Rows that say which ones they are, (n, 2)."""
    return torch.stack([torch.arange(n) + start, -torch.arange(n) - start], 1).float()


def as_set(found: Tensor) -> set[float]:
    return set(found[:, 0].tolist())


@pytest.mark.parametrize("sizes", [[3, 3, 3, 3], [5, 1, 4, 2, 5], [7, 7], [7, 1, 7]], ids=str)
def test_it_holds_the_latest_rows_and_their_ids(sizes: list[int]) -> None:
    queue, pushed = Queue(7, 2), []
    for size in sizes:
        new = rows(size, len(pushed))
        queue.push(new, new[:, 0].long() * 10)
        pushed += new[:, 0].tolist()
        assert as_set(queue.valid()) == set(pushed[-7:])
        assert int(queue.filled) == int(queue.is_filled().sum()) == min(7, len(pushed))
        assert torch.equal(queue.valid()[:, 0].long() * 10, queue.ids[queue.is_filled()])
    assert int(queue.next) == len(pushed) % 7
    assert as_set(queue.valid()) != set(pushed[:7]) or len(pushed) == 7  # the broken twin: the first ones stay


def test_it_starts_empty_and_without_ids() -> None:
    queue = Queue(4, 3)
    assert queue.valid().shape == (0, 3) and not queue.is_filled().any()
    assert {name: float(value) for name, value in queue.age().items()} == {"queue_age": 0, "queue_mean_age": 0}
    queue.push(torch.ones(2, 3))
    assert queue.ids.tolist() == [-1, -1, -1, -1] and queue.is_filled().tolist() == [True, True, False, False]


def test_ages_are_in_steps() -> None:
    queue = Queue(5, 2)
    for size in (2, 2, 2):
        queue.push(rows(size, 0))
    # One row of the first step is left, two of each later one.
    assert float(queue.age()["queue_age"]) == 3
    assert float(queue.age()["queue_mean_age"]) == pytest.approx((3 + 2 * 2 + 2 * 1) / 5)


def test_more_than_it_holds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task.queue 4 is shorter than the 5 rows"):
        Queue(4, 2).push(rows(5, 0))


def test_a_resumed_queue_goes_on_bit_for_bit() -> None:
    queue, resumed, forgetful = Queue(5, 2), Queue(5, 2), Queue(5, 2)
    queue.push(rows(4, 0), torch.arange(4))
    resumed.load_state_dict(queue.state_dict())
    forgetful.load_state_dict(queue.state_dict() | {"next": torch.tensor(0)})  # the broken twin: no pointer kept
    for each in (queue, resumed, forgetful):
        each.push(rows(3, 10), torch.arange(3) + 10)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in queue.state_dict().items())
    assert not torch.equal(queue.rows, forgetful.rows)


def test_its_tensors_stay_the_same_objects() -> None:
    queue = Queue(5, 2)
    before = {name: value.data_ptr() for name, value in queue.named_buffers()}
    queue.push(rows(4, 0))
    assert before == {name: value.data_ptr() for name, value in queue.named_buffers()}


def test_it_takes_rows_of_another_precision() -> None:
    queue = Queue(3, 2).double()
    queue.push(rows(2, 1).bfloat16())
    assert queue.rows.dtype == torch.float64 and queue.rows[1].tolist() == [2, -2]
