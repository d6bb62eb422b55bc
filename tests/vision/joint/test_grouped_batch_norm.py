"""Batch norm by groups of rows equals torch's on each group alone; on two processes, see test_moco_on_two."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import AutoModel, ResNetModel

import modalities.vision.batch_norm as module
from modalities.vision.backbones import build_encoder, pooled
from modalities.vision.batch_norm import GroupedBatchNorm2d, in_groups, with_global_statistics, with_group_statistics
from modalities.vision.joint.batch_groups import groups_in_order, shuffled_groups
from objectives.gather import rank, world_size
from tests.vision.joint.files import RESNET, VIT

ROWS, CHANNELS = 8, 3
PAIRS, COUNT = 64, 8
GROUPS = torch.tensor([2, 0, 1, 0, 1, 1, 2, 0])  # of unequal size, each on both processes


def rows() -> tuple[Tensor, Tensor]:
    """Inputs whose groups differ in mean and spread, and a weight for each output."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, CHANNELS, 4, 5, generator=draw, dtype=torch.float64) * (1 + GROUPS.view(-1, 1, 1, 1))
    return x + 10 + 3 * GROUPS.view(-1, 1, 1, 1), torch.randn(x.shape, generator=draw, dtype=torch.float64)


def norm() -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(CHANNELS, dtype=torch.float64)
    made.weight.data.copy_(torch.tensor([0.5, -1.0, 2.0]))
    made.bias.data.copy_(torch.tensor([0.1, 0.2, -0.3]))
    return made


def grouped() -> GroupedBatchNorm2d:
    made = with_group_statistics(with_global_statistics(nn.Sequential(norm())))[0]
    assert isinstance(made, GroupedBatchNorm2d)
    return made


def numbers(groups: Tensor = GROUPS) -> dict[str, Tensor]:
    """A training step on this process's rows: output, and gradients of the sum over all rows."""
    own = slice(rank() * ROWS // world_size(), (rank() + 1) * ROWS // world_size())
    x, weight = (tensor[own] for tensor in rows())
    x.requires_grad_()
    made = grouped()
    with in_groups(made, groups[own], 3):
        out = made(x)
    (out.square() * weight).sum().backward()
    assert not any(buffer.requires_grad for buffer in made.buffers())
    found = {"output": out.detach(), "input": x.grad, **{f"buffer {n}": b.double() for n, b in made.named_buffers()}}
    for name, parameter in made.named_parameters():
        if world_size() > 1:
            dist.all_reduce(parameter.grad)
        found[name] = parameter.grad
    return found


def group_by_group() -> dict[str, Tensor]:
    """The slow reference: torch's own batch norm on the rows of one group after the other."""
    x, weight = rows()
    x.requires_grad_()
    made, out = norm(), torch.empty_like(x)
    for group in range(3):
        out[group == GROUPS] = made(x[group == GROUPS])
    (out.square() * weight).sum().backward()
    whole = norm()
    whole(x.detach())  # running statistics are those of all rows
    buffers = {f"buffer {n}": b.double() for n, b in whole.named_buffers()}
    return {"output": out.detach(), "input": x.grad, **buffers, **{n: p.grad for n, p in made.named_parameters()}}


def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> dict[str, float]:
    assert left.keys() == right.keys()
    return {name: float((left[name] - right[name]).detach().abs().max()) for name in left}


def test_each_group_has_its_own_statistics() -> None:
    found = apart(numbers(), group_by_group())
    assert max(found.values()) < 1e-12, found
    wrong = apart(numbers(GROUPS.roll(1)), group_by_group())  # the broken twin: rows in others' groups
    assert wrong["output"] > 1e-2 and wrong["input"] > 1e-2 and wrong["buffer running_var"] < 1e-12


def on_two() -> dict[str, dict[str, Tensor]]:
    """`numbers` of this process's half, right and wrong."""
    found = {"right": numbers()}
    honest = module.all_reduce
    module.all_reduce = lambda x: x * world_size()  # type: ignore[assignment]
    found["local statistics"] = numbers()
    module.all_reduce = lambda x: honest(x.detach())  # type: ignore[assignment]
    found["reduced without gradient"] = numbers()
    module.all_reduce = honest
    return found


def test_outside_of_groups_it_is_a_batch_norm_of_all_rows() -> None:
    x, _ = rows()
    made, plain = grouped(), norm()
    with pytest.raises(RuntimeError, match="inside"), in_groups(made, GROUPS, 3):
        raise RuntimeError("inside")
    assert torch.equal(made(x), plain(x))
    assert torch.equal(made.eval()(x), plain.eval()(x))
    with in_groups(made, GROUPS, 3):
        assert torch.equal(made(x), plain(x))  # in evaluation rows have no groups
        assert not torch.equal(made.train()(x), plain.train()(x))


def test_half_precision_inputs_have_statistics_in_full_precision() -> None:
    x = (rows()[0] + 100).bfloat16()
    made, out = nn.BatchNorm2d(CHANNELS), torch.empty(x.shape)
    for group in range(3):
        out[group == GROUPS] = made(x[group == GROUPS].float())
    quick = with_group_statistics(with_global_statistics(nn.Sequential(nn.BatchNorm2d(CHANNELS))))
    with in_groups(quick, GROUPS, 3), torch.autocast("cpu", torch.bfloat16):
        found = quick(x)
    assert found.dtype == torch.bfloat16 and (found.float() - out).abs().max() < 0.02  # the output's own rounding
    with in_groups(quick, GROUPS.roll(1), 3):
        assert (quick(x).float() - out).abs().max() > 0.02


def test_weights_are_shared_out_as_before_and_the_folder_is_stock(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(RESNET)
    assert isinstance(encoder, ResNetModel)
    before = copy.deepcopy(encoder.state_dict())
    assert with_group_statistics(encoder) is encoder
    assert sum(isinstance(m, GroupedBatchNorm2d) for m in encoder.modules()) > 5
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    encoder.eval().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    pixels = torch.rand(2, 3, 32, 32)
    assert torch.equal(pooled(loaded, pixels), pooled(encoder, pixels))
    assert {type(m) for m in loaded.modules() if isinstance(m, nn.BatchNorm2d)} == {nn.BatchNorm2d}


def test_a_model_without_batch_norms_is_left_alone() -> None:
    encoder = build_encoder(VIT)
    kinds = [type(m) for m in encoder.modules()]
    assert [type(m) for m in with_group_statistics(encoder).modules()] == kinds


def distance_of_corners(groups_of_keys: Tensor, seed: int) -> float:
    """How far apart the two sides of a pair are in what their groups' statistics alone decide, relative to two sides
    that are no pair: 0 where the statistics give the pair away, 1 where they say nothing.

    One place of every map is 0, so what a batch norm makes of it is the group's mean over its deviation.
    """
    draw = torch.Generator().manual_seed(seed)
    brightness = 3 * torch.randn(PAIRS, 1, 1, 1, generator=draw)
    corners = []
    for groups in (groups_in_order(torch.arange(PAIRS), COUNT), groups_of_keys):
        side = brightness + 0.1 * torch.randn(PAIRS, CHANNELS, 4, 4, generator=draw)
        side[:, :, 0, 0] = 0
        made = with_group_statistics(with_global_statistics(nn.Sequential(nn.BatchNorm2d(CHANNELS, affine=False))))
        with in_groups(made, groups, COUNT):
            corners.append(made(side)[:, :, 0, 0])
    distances = torch.cdist(*corners)  # (pairs, pairs)
    return float(distances.diagonal().mean() / distances.mean())


def test_shuffling_hides_the_pair_that_statistics_give_away() -> None:
    in_order = groups_in_order(torch.arange(PAIRS), COUNT)
    assert distance_of_corners(in_order, 0) < 0.2
    shuffled = [distance_of_corners(shuffled_groups(torch.arange(PAIRS) + 99 * k, COUNT), k) for k in range(5)]
    assert 0.8 < sum(shuffled) / 5 < 1.2
