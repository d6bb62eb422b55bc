"""MoCHi's negatives: their reference, how hard they are, and what is never among them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.mixed_negatives import draws_needed, mixed_negatives
from tests.reference import queue_contrast as reference

SIZES = {"mixed": 4, "mixed_with_query": 3, "hardest": 3}
N, M, D = 5, 12, 6


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    queries, negatives = (torch.randn(rows, D, generator=draw, dtype=torch.float64) for rows in (N, M))
    return queries, negatives, torch.rand(N, draws_needed(4, 3), generator=draw)


def test_they_equal_the_loops() -> None:
    queries, negatives, draws = tensors()
    made, ignore = mixed_negatives(queries, negatives, draws, **SIZES)
    truth = torch.tensor(
        reference.mixed_negatives(queries.tolist(), negatives.tolist(), draws.tolist(), **SIZES), dtype=torch.float64
    )
    assert made.shape == (N, 7, D) and not ignore.any()
    assert (made - truth).abs().max() < 1e-12
    rolled, _ = mixed_negatives(queries, negatives, draws.roll(1, 1), **SIZES)  # the broken twin: draws in other order
    assert (rolled - truth).abs().max() > 1e-2


def test_they_are_unit_vectors_harder_than_what_they_are_made_of() -> None:
    queries, negatives, draws = tensors()
    made, _ = mixed_negatives(queries.requires_grad_(), negatives, draws, **SIZES)
    assert not made.requires_grad
    assert torch.allclose(made.norm(dim=-1), torch.ones(N, 7, dtype=torch.float64), rtol=0, atol=1e-12)
    scores = torch.einsum("nd,nsd->ns", F.normalize(queries, dim=1), made)
    hardest = (F.normalize(queries, dim=1) @ F.normalize(negatives, dim=1).T).topk(3).values  # (n, 3)
    assert (scores[:, 4:] >= hardest[:, -1:]).all()
    all_share = draws.clone()
    all_share[:, -3:] = 1.0  # the query's share has one half as its limit, where both are as near
    made, _ = mixed_negatives(queries, negatives, all_share, mixed=4, mixed_with_query=3, hardest=1)
    single = F.normalize(negatives, dim=1)[(F.normalize(queries, dim=1) @ F.normalize(negatives, dim=1).T).argmax(1)]
    halfway = F.normalize(F.normalize(queries, dim=1) + single, dim=1)
    assert (made[:, 4:] - halfway[:, None]).abs().max() < 1e-12
    assert (made[:, :4] - single[:, None]).abs().max() < 1e-12  # two of the same one


def test_what_does_not_count_is_never_part_of_one_that_does() -> None:
    queries, negatives, draws = tensors()
    ignore = torch.zeros(N, M, dtype=torch.bool)
    ignore[:, :6] = True
    found, left_out = mixed_negatives(queries, negatives, draws, **SIZES, ignore=ignore)
    expected, _ = mixed_negatives(queries, negatives[6:], draws, **SIZES)
    assert not left_out.any() and (found - expected).abs().max() < 1e-12
    assert (found - mixed_negatives(queries, negatives, draws, **SIZES)[0]).abs().max() > 1e-2


def test_mixes_of_too_few_are_left_out() -> None:
    queries, negatives, draws = tensors()
    ignore = torch.ones(N, M, dtype=torch.bool)
    ignore[:, :2] = False  # two of the three hardest
    found, left_out = mixed_negatives(queries, negatives, draws, **SIZES, ignore=ignore)
    assert torch.isfinite(found).all()
    third = (draws * 3).long() == 2  # (n, draws): those that pick the one that is not there
    assert torch.equal(left_out, torch.cat([third[:, :4] | third[:, 4:8], third[:, 12:15]], 1))
    assert left_out.any() and not left_out.all()
