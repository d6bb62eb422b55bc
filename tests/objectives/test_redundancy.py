"""Barlow Twins and VICReg against loops, their values where those are known, and two processes against one."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from objectives.gather import all_reduce, here, rank, world_size
from objectives.redundancy import Total, barlow_twins, vicreg
from tests.reference import redundancy as reference
from tests.world import run_in_world

N, D = 8, 4
LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}
Numbers = dict[str, Tensor]


def views(n: int = N, d: int = D, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    z1 = torch.randn(n, d, generator=draw, dtype=torch.float64)
    return z1.to(dtype), (0.5 * z1 + 0.3 * torch.randn(n, d, generator=draw, dtype=torch.float64) + 2).to(dtype)


def decorrelated(n: int = 8) -> Tensor:
    """Three columns of mean 0 and biased variance 1 without any correlation, (8, 3)."""
    bits = torch.arange(n)
    return torch.stack([1.0 - 2 * (bits >> k & 1) for k in range(3)], 1).double()


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_barlow_twins_is_the_loop(dtype: torch.dtype) -> None:
    z1, z2 = views(dtype=dtype)
    wanted = reference.barlow_twins(z1.tolist(), z2.tolist(), 0.3, 1e-5)
    assert barlow_twins(z1, z2, 0.3).item() == pytest.approx(wanted, rel=LIMITS[dtype])
    twin = reference.barlow_twins(z1.tolist(), z2.roll(1, 0).tolist(), 0.3, 1e-5)  # rows of other examples
    assert barlow_twins(z1, z2, 0.3).item() != pytest.approx(twin, rel=1e-3)


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_vicreg_is_the_loop(dtype: torch.dtype) -> None:
    z1, z2 = views(dtype=dtype)
    options = {"sim": 3.0, "std": 5.0, "cov": 0.7, "gamma": 1.2, "eps": 1e-4}
    wanted = reference.vicreg(z1.tolist(), z2.tolist(), **options)
    found = vicreg(z1, z2, **options)
    assert found["loss"].item() == pytest.approx(wanted, rel=LIMITS[dtype])
    assert all(found[term] > 0 for term in ("invariance", "variance", "covariance"))
    # The broken twin: variances divided by n.
    biased = z1 * sqrt((N - 1) / N), z2 * sqrt((N - 1) / N)
    assert vicreg(*biased, **(options | {"sim": 0.0}))["loss"].item() != pytest.approx(wanted, rel=1e-3)


def test_barlow_twins_at_its_best_and_collapsed() -> None:
    z = decorrelated()
    assert barlow_twins(z, z, 1.0, eps=0.0).item() == pytest.approx(0, abs=1e-12)
    assert barlow_twins(z, -z, 1.0, eps=0.0).item() == pytest.approx(4 * 3)  # each dimension against itself
    assert barlow_twins(z, z[:, [1, 2, 0]], 0.5, eps=0.0).item() == pytest.approx(3 + 0.5 * 3)
    assert barlow_twins(z[:, :1].expand(-1, 3), z[:, :1].expand(-1, 3), 0.5, eps=0.0).item() == pytest.approx(0.5 * 6)
    same = torch.ones(N, D, dtype=torch.float64, requires_grad=True)
    loss = barlow_twins(same, same)
    loss.backward()
    assert loss.item() == D and same.grad is not None and bool(torch.isfinite(same.grad).all())


def test_vicreg_at_its_best_and_collapsed() -> None:
    z = 2 * decorrelated()
    assert {name: value.item() for name, value in vicreg(z, z).items()} == {
        "loss": 0, "invariance": 0, "variance": 0, "covariance": 0
    }  # fmt: skip
    same = torch.ones(N, D, dtype=torch.float64, requires_grad=True)
    found = vicreg(same, same)
    found["loss"].backward()
    assert found["loss"].item() == pytest.approx(25 * (1 - sqrt(1e-4)))
    assert same.grad is not None and bool(torch.isfinite(same.grad).all())
    # Two dimensions that are one: each of 2 off-diagonal entries is the variance, in both views, divided by d.
    twice = z[:, :1].expand(-1, 2)
    assert vicreg(twice, twice)["covariance"].item() == pytest.approx(2 * 2 * (4 * 8 / 7) ** 2 / 2)


def test_what_they_do_not_see() -> None:
    z1, z2 = views()
    scale, shift = torch.tensor([0.5, 2.0, 3.0, 10.0], dtype=torch.float64), torch.arange(4.0, dtype=torch.float64)
    plain = barlow_twins(z1, z2, 0.1, eps=0.0).item()
    assert barlow_twins(z1 * scale + shift, z2 - shift, 0.1, eps=0.0).item() == pytest.approx(plain, rel=1e-12)
    assert barlow_twins(z1 * z1, z2, 0.1, eps=0.0).item() != pytest.approx(plain, rel=1e-3)
    both = vicreg(z1, z2)["loss"].item()
    assert vicreg(z1 + shift, z2 + shift)["loss"].item() == pytest.approx(both, rel=1e-12)
    assert vicreg(z1 + shift, z2)["loss"].item() != pytest.approx(both, rel=1e-3)
    assert vicreg(z1 * scale, z2 * scale)["loss"].item() != pytest.approx(both, rel=1e-3)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    for loss in LOSSES.values():
        assert loss(z1[order], z2[order], here).item() == pytest.approx(loss(z1, z2, here).item(), rel=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    z1, z2 = (z.requires_grad_() for z in views(5, 3))
    assert torch.autograd.gradcheck(lambda a, b: barlow_twins(a, b, 0.1), (z1, z2))
    assert torch.autograd.gradcheck(lambda a, b: vicreg(a, b)["loss"], (z1, z2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    z1, z2 = views(dtype=dtype)
    for loss in LOSSES.values():
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(z1, z2, here)
        assert found.dtype == torch.float32 and found == loss(z1.float(), z2.float(), here)


def raw(x: Tensor) -> Tensor:
    """A plain collective: each process is left with the gradient of its own share alone."""
    total = x.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total + (x - x.detach())


Loss = Callable[[Tensor, Tensor, Total], Tensor]
LOSSES: dict[str, Loss] = {
    "barlow_twins": lambda z1, z2, total: barlow_twins(z1, z2, 0.1, total=total),
    "vicreg": lambda z1, z2, total: vicreg(z1, z2, total=total)["loss"],
}
TOTALS: dict[str, Total] = {"right": all_reduce, "raw all_reduce": raw, "local statistics": here}


class Towers(nn.Module):
    """Two linear maps without biases, which neither loss would see; `forward` returns the loss, as DDP wants it."""

    def __init__(self, loss: Loss, total: Total, dtype: torch.dtype) -> None:
        super().__init__()
        self.loss, self.total = loss, total
        draw = torch.Generator().manual_seed(1)
        self.one, self.two = (nn.Linear(D, D, bias=False, dtype=dtype) for _ in range(2))
        for weight in self.parameters():
            weight.data.copy_(torch.randn(D, D, generator=draw, dtype=torch.float64) / 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.loss(self.one(x), self.two(y), self.total)


def run(loss: str, total: str, dtype: torch.dtype) -> Numbers:
    """The loss and all gradients over this world, averaged over its ranks by DDP."""
    model, share = Towers(LOSSES[loss], TOTALS[total], dtype), N // world_size()
    x, y = (z[rank() * share : (rank() + 1) * share] for z in views(dtype=dtype))
    trained = DistributedDataParallel(model) if world_size() > 1 else model
    value = trained(x, y)
    value.backward()
    found = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(found)
        found /= world_size()
    return {"loss": found, **{name: p.grad for name, p in model.named_parameters() if p.grad is not None}}


def every_run() -> dict[tuple[str, str, torch.dtype], Numbers]:
    torch.set_num_threads(1)
    return {(a, b, dtype): run(a, b, dtype) for a in LOSSES for b in TOTALS for dtype in LIMITS}


def test_two_processes_equal_one_and_the_known_bugs_do_not() -> None:
    for found in run_in_world(every_run, processes=2, timeout=120.0):
        for loss in LOSSES:
            for dtype, limit in LIMITS.items():
                alone = run(loss, "right", dtype)
                size = max(float(value.abs().max()) for value in alone.values())
                apart = {
                    total: max(float((found[loss, total, dtype][k] - v).abs().max()) / size for k, v in alone.items())
                    for total in TOTALS
                }
                assert len(alone) == 3 and apart["right"] < limit, (loss, dtype, apart)
                assert apart["raw all_reduce"] > 1e-3 and apart["local statistics"] > 1e-3, (loss, dtype, apart)
