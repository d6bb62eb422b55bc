"""A sum over processes with gradient: in the forward every rank's share, in the backward every rank's wish."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from objectives.gather import all_reduce, rank, world_size
from tests.world import run_in_world

N, D = 8, 4
Numbers = dict[str, Tensor]


def plain(x: Tensor) -> Tensor:
    """The broken twin: the collective without its backward."""
    total = x.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total + (x - x.detach())  # the own share keeps its gradient


class Centred(torch.nn.Module):
    """A loss that needs statistics of all rows: a linear map, whitened by the mean and variance of its outputs."""

    def __init__(self, reduce=all_reduce) -> None:
        super().__init__()
        self.reduce = reduce
        # Without bias, whose gradient the centring makes zero.
        self.linear = torch.nn.Linear(D, D, bias=False, dtype=torch.float64)
        draw = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)  # (n, d)
        mean = self.reduce(z.mean(0)) / world_size()
        var = self.reduce((z - mean).square().mean(0)) / world_size()
        return (((z - mean) / (var + 0.1).sqrt()) ** 4 * (1 + x)).mean()


def run(reduce=all_reduce, use_ddp: bool = False) -> Numbers:
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    share = N // world_size()
    model = Centred(reduce)
    trained = DistributedDataParallel(model) if use_ddp else model
    loss = trained(x[rank() * share : (rank() + 1) * share])
    loss.backward()
    numbers = {"loss": loss.detach().clone(), **{name: p.grad for name, p in model.named_parameters()}}
    if world_size() > 1:
        for name, value in numbers.items():
            if name == "loss" or not use_ddp:
                dist.all_reduce(value)
                value /= world_size()
    return numbers


def everything() -> dict[str, Numbers]:
    torch.set_num_threads(1)
    here = float(rank() + 1)
    x = torch.full((2, 3), here, requires_grad=True)
    total = all_reduce(x)
    (total * here).sum().backward()
    strided = torch.arange(6.0).reshape(2, 3).T + 10 * rank()
    kept = strided.clone()
    sums = {"total": total.detach(), "gradient": x.grad, "strided": all_reduce(strided)}
    assert torch.equal(strided, kept), "the input was changed in place"
    return {"sums": sums, "averaged": run(), "DDP": run(use_ddp=True), "plain": run(plain)}


def apart(ours: Numbers, truth: Numbers) -> float:
    assert ours.keys() == truth.keys() and len(truth) == 2
    return max(float((ours[name] - truth[name]).abs().max() / truth[name].abs().max()) for name in truth)


def test_two_processes_equal_one_and_the_plain_collective_does_not() -> None:
    truth = run()
    assert apart(run(plain), truth) < 1e-12  # on one process nothing shows
    for number, found in enumerate(run_in_world(everything, processes=2)):
        sums = found["sums"]
        assert (sums["total"] == 3).all()
        assert (sums["gradient"] == 3).all(), "1 wanted by rank 0 and 2 by rank 1"
        assert torch.equal(sums["strided"], 2 * torch.arange(6.0).reshape(2, 3).T + 10), number
        assert apart(found["averaged"], truth) < 1e-12 and apart(found["DDP"], truth) < 1e-12
        assert apart(found["plain"], truth) > 1e-3


def test_a_world_of_one_is_left_alone() -> None:
    x = torch.zeros(3)
    assert all_reduce(x) is x
