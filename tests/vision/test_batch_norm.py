"""Batch norm over two processes' halves equals torch's over the whole, in every number that training touches."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import modalities.vision.batch_norm as module
from modalities.vision.batch_norm import GlobalBatchNorm2d, with_global_statistics
from objectives.gather import rank, world_size
from tests.world import run_in_world

ROWS, CHANNELS = 6, 3
FORMS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "no affine": {"affine": False},
    "no tracking": {"track_running_stats": False},
    "cumulative": {"momentum": None},
}


def rows() -> tuple[Tensor, Tensor]:
    """Inputs far from zero, different in mean and spread on the two halves, and a weight for each output."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, CHANNELS, 4, 5, generator=draw, dtype=torch.float64)
    x[ROWS // 2 :] = x[ROWS // 2 :] * 3 + 2
    return x + 10, torch.randn(ROWS, CHANNELS, 4, 5, generator=draw, dtype=torch.float64)


def distant() -> Tensor:
    """bf16 inputs far from zero, where squares and sums would cancel."""
    return (rows()[0] + 100).bfloat16()


def norm(kind: type[nn.BatchNorm2d], form: str) -> nn.BatchNorm2d:
    made = kind(CHANNELS, dtype=torch.float64, **FORMS[form])
    if made.affine:
        made.weight.data.copy_(torch.tensor([0.5, -1.0, 2.0]))
        made.bias.data.copy_(torch.tensor([0.1, 0.2, -0.3]))
    return made


def numbers(kind: type[nn.BatchNorm2d], form: str) -> dict[str, Tensor]:
    """Two training steps and one in eval mode on this process's rows; gradients of the mean over all rows."""
    share = ROWS // world_size()
    own = slice(rank() * share, (rank() + 1) * share)
    x, weight = (tensor[own] for tensor in rows())
    x.requires_grad_()
    made = norm(kind, form)
    out = made(x)
    made(x.detach() * 2)
    (out.square() * weight).sum().backward()
    found = {"output": out.detach(), "input": x.grad, **{f"buffer {n}": b.double() for n, b in made.named_buffers()}}
    for name, parameter in made.named_parameters():
        if world_size() > 1:
            dist.all_reduce(parameter.grad)
        found[name] = parameter.grad
    if made.track_running_stats:
        found["in eval mode"] = made.eval()(x).detach()
    return found


def on_two() -> dict[str, dict[str, Tensor]]:
    found = {form: numbers(GlobalBatchNorm2d, form) for form in FORMS}
    found["local statistics"] = numbers(nn.BatchNorm2d, "as it is")
    honest = module.all_reduce
    module.all_reduce = lambda x: honest(x.detach())  # type: ignore[assignment]
    found["reduced without gradient"] = numbers(GlobalBatchNorm2d, "as it is")
    module.all_reduce = honest
    share = ROWS // world_size()
    found["half"] = {"output": GlobalBatchNorm2d(CHANNELS)(distant()[rank() * share :][:share]).detach()}
    return found


@pytest.fixture(scope="module")
def halves() -> dict[str, dict[str, Tensor]]:
    """What the two processes found, rows joined again."""
    first, second = run_in_world(on_two, processes=2)
    joined = {}
    by_rows = ("output", "input", "in eval mode")
    for form in first:
        if form in FORMS:
            assert all(torch.equal(first[form][n], second[form][n]) for n in first[form] if n not in by_rows)
        by_row = {n: torch.cat([first[form][n], second[form][n]]) for n in by_rows if n in first[form]}
        joined[form] = first[form] | by_row
    return joined


def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> dict[str, float]:
    assert left.keys() == right.keys()
    return {name: float((left[name] - right[name]).abs().max()) for name in left}


@pytest.mark.parametrize("form", FORMS)
def test_two_halves_equal_the_whole(halves: dict[str, dict[str, Tensor]], form: str) -> None:
    assert max(apart(halves[form], numbers(nn.BatchNorm2d, form)).values()) < 1e-12


def test_local_statistics_are_seen(halves: dict[str, dict[str, Tensor]]) -> None:
    found = apart(halves["local statistics"], numbers(nn.BatchNorm2d, "as it is"))
    assert all(found[name] > 1e-2 for name in ("output", "input", "weight", "buffer running_mean"))


def test_a_reduction_without_gradient_is_seen(halves: dict[str, dict[str, Tensor]]) -> None:
    found = apart(halves["reduced without gradient"], numbers(nn.BatchNorm2d, "as it is"))
    assert found["output"] < 1e-12 and found["buffer running_var"] < 1e-12  # only the gradient is wrong
    assert found["input"] > 1e-2


def test_half_precision_inputs_have_statistics_in_full_precision(halves: dict[str, dict[str, Tensor]]) -> None:
    found, exact = halves["half"]["output"], nn.BatchNorm2d(CHANNELS)(distant().float())
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().max() < 0.02  # the output's own rounding
    rounded = distant() - distant().mean((0, 2, 3), keepdim=True)  # the broken twin: a mean of 8 bits
    assert ((rounded / rounded.float().std((0, 2, 3), keepdim=True)).float() - exact).abs().max() > 0.02


def test_every_batch_norm_of_a_model_becomes_global_and_its_weights_stay() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm1d(6), inner)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert with_global_statistics(model) is model
    assert [type(m).__name__ for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)] == [
        "GlobalBatchNorm2d",
        "GlobalBatchNorm1d",
        "GlobalBatchNorm2d",
    ]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
