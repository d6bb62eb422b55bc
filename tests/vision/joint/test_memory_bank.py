"""The memory bank: what replaces what, repeats, gathered batches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.vision.joint.memory_bank import MemoryBank


def embeddings(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bank() -> MemoryBank:
    torch.manual_seed(0)
    return MemoryBank(6, 3).double()


def test_first_embeddings_replace_and_later_ones_blend_in() -> None:
    found, index = bank(), torch.tensor([4, 1])
    start, first, second = found.rows.clone(), embeddings(2), embeddings(2, seed=1)
    assert (start.norm(dim=1) - 1).abs().max() < 1e-6 and not found.seen.any()
    found.update(index, first, momentum=0.5)
    assert (found.rows[index] - F.normalize(first, dim=1)).abs().max() < 1e-12
    assert found.seen.tolist() == [False, True, False, False, True, False]
    found.update(index, second * 7, momentum=0.5)
    wanted = F.normalize(F.normalize(first, dim=1) + F.normalize(second, dim=1), dim=1)
    assert (found.rows[index] - wanted).abs().max() < 1e-12  # how long an embedding is counts for nothing
    assert (found.rows[index] - F.normalize(first + 7 * second, dim=1)).abs().max() > 1e-3
    others = [0, 2, 3, 5]
    assert torch.equal(found.rows[others], start[others])


def test_of_a_row_that_comes_twice_the_later_one_counts() -> None:
    found, other = bank(), bank()
    z = embeddings(4)
    for each in (found, other):
        each.update(torch.tensor([2]), embeddings(1, seed=2))
    found.update(torch.tensor([2, 0, 2, 5]), z, momentum=0.5)
    other.update(torch.tensor([0, 2, 5]), z[[1, 2, 3]], momentum=0.5)
    assert torch.equal(found.rows, other.rows) and torch.equal(found.seen, other.seen)
    other.update(torch.tensor([2]), z[:1], momentum=0.5)  # the broken twin: both
    assert not torch.equal(found.rows, other.rows)


def test_the_tensor_stays_the_same_object_and_half_precision_is_taken() -> None:
    found = bank()
    rows = found.rows
    found.update(torch.tensor([1]), embeddings(1).bfloat16())
    assert found.rows is rows and rows.dtype == torch.float64 and rows[1].norm().sub(1).abs() < 1e-12
