"""Two processes with half of the rows each must equal one process with all: loss and every gradient.

One world runs every objective through a small linear encoder, gradients averaged as DDP averages them, in fp64 and
fp32. The broken twins are mistakes that real code has shipped; the same comparison with the same limits must see each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from objectives import contrastive, hard_negatives, metric_learning, mutual_information, predictive, tiled
from objectives.gather import gather, rank, world_size
from tests.world import run_in_world

N, INPUT, D, CLASSES = 8, 5, 4, 3
LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}

Batch = dict[str, Tensor]
Loss = Callable[["Model", Batch], Tensor]
Numbers = dict[str, Tensor]


class Model(nn.Module):
    """Two linear towers, a class head, a scale and a bias; `forward` returns the loss, as DDP wants it."""

    def __init__(self, loss: Loss, dtype: torch.dtype) -> None:
        super().__init__()
        self.loss = loss
        generator = torch.Generator().manual_seed(0)
        for name, (out, width) in {"one": (D, INPUT), "two": (D, INPUT), "head": (CLASSES, D)}.items():
            linear = nn.Linear(width, out, dtype=dtype)
            for parameter in linear.parameters():
                parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            self.add_module(name, linear)
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=dtype))
        self.bias = nn.Parameter(torch.tensor(-1.0, dtype=dtype))

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(self, batch)

    def temperature(self) -> Tensor:
        return (-self.scale).exp()

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.one(batch["x"]), self.two(batch["y"])


def batch_of(dtype: torch.dtype) -> Batch:
    generator = torch.Generator().manual_seed(1)
    batch = {name: torch.randn(N, INPUT, generator=generator, dtype=torch.float64).to(dtype) for name in "xyz"}
    batch["scores"] = torch.randn(N, 3, generator=generator, dtype=torch.float64).to(dtype)
    batch["ids"] = torch.tensor([0, 1, 1, 2, 0, 3, 4, 3])  # shared within a rank and across ranks
    batch["labels"] = torch.tensor([0, 1, 2, 0, 1, 0, 1, 3])  # the last of its class alone
    batch["tokens"] = torch.tensor([0, -100, 2, -100, 1, 1, 0, 2])  # 2 to predict on one rank, 4 on the other
    return batch


def start(x: Tensor) -> int:
    return rank() * len(x)


def info_nce(m: Model, b: Batch, to_all: Callable[[Tensor], Tensor] = gather, module: Any = contrastive) -> Tensor:
    x, y = m.views(b)
    own = torch.arange(len(x)) + start(x)
    return module.info_nce(x, to_all(y), m.temperature(), own)


def clip_whole(m: Model, b: Batch, to_all: Callable[[Tensor], Tensor] = gather, module: Any = contrastive) -> Tensor:
    x, y = m.views(b)
    return module.clip(to_all(x), to_all(y), m.scale, gather(b["ids"]))


def clip_local(m: Model, b: Batch, to_all: Callable[[Tensor], Tensor] = gather, module: Any = contrastive) -> Tensor:
    x, y = m.views(b)
    keys = {"all_image": to_all(x), "all_text": to_all(y), "all_ids": gather(b["ids"]), "offset": start(x)}
    return module.clip(x, y, m.scale, b["ids"], **keys)


def nt_xent_local(m: Model, b: Batch, module: Any = contrastive) -> Tensor:
    x, y = m.views(b)
    return module.nt_xent(x, y, m.temperature(), all_z1=gather(x), all_z2=gather(y), offset=start(x))


def nt_xent_whole(m: Model, b: Batch, module: Any = contrastive) -> Tensor:
    x, y = m.views(b)
    return module.nt_xent(gather(x), gather(y), m.temperature())


def hard_nt_xent_local(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    everyone = {"all_z1": gather(x), "all_z2": gather(y), "offset": start(x)}
    return hard_negatives.hard_nt_xent(x, y, m.temperature(), 1.0, 0.1, **everyone)


def hard_nt_xent_whole(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    return hard_negatives.hard_nt_xent(gather(x), gather(y), m.temperature(), 1.0, 0.1)


def sup_con_local(m: Model, b: Batch) -> Tensor:
    z, labels = torch.stack(m.views(b), 1).flatten(0, 1), b["labels"].repeat_interleave(2)
    everyone = {"all_z": gather(z), "all_labels": gather(labels), "offset": start(z)}
    return contrastive.sup_con(z, labels, m.temperature(), **everyone)


def siglip_whole(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    return contrastive.siglip(gather(x), gather(y), m.scale, m.bias, gather(b["ids"]))


def siglip_local(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    everywhere = {"all_text": gather(y), "all_ids": gather(b["ids"])}
    return contrastive.siglip(x, y, m.scale, m.bias, b["ids"], **everywhere, offset=start(x))


def n_pair(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    return metric_learning.n_pair(x, gather(y), 0.1, offset=start(x))


def on_sphere(m: Model, b: Batch) -> Tensor:
    """Gathered unit vectors: distances of raw ones would leave the encoder's bias without a gradient to compare."""
    return gather(F.normalize(m.one(b["x"]), dim=1))


def nce(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    return metric_learning.nce(x[:, 0], y[:, :3], b["scores"][:, 0], b["scores"])


def masked_tokens(m: Model, b: Batch) -> Tensor:
    total, count = predictive.masked_cross_entropy(m.one(b["x"]), b["tokens"], m.head)
    return total * world_size() / gather(count[None]).sum()


def replaced_tokens(m: Model, b: Batch) -> Tensor:
    scores = m.head(m.one(b["x"]))  # (n, c)
    tokens = b["tokens"][:, None]
    total, count = predictive.replaced_tokens(scores, (tokens == 1).expand_as(scores), (tokens >= 0).expand_as(scores))
    return total * world_size() / gather(count[None]).sum()


def linear_tokens(m: Model, b: Batch) -> Tensor:
    hidden, head = m.one(b["x"]), m.head
    total, count = predictive.linear_cross_entropy(hidden, head.weight, b["tokens"], head.bias, chunk=3)
    return total * world_size() / gather(count[None]).sum()


def jensen_shannon(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    parts, mask = torch.stack([x, m.one(b["z"])], 1), torch.stack([b["labels"] >= 0, b["labels"] > 0], 1)
    return mutual_information.jensen_shannon(parts, y, mask, all_whole=gather(y), offset=start(x))


LOSSES: dict[str, Loss] = {
    "info_nce": info_nce,
    "clip, all gathered": clip_whole,
    "clip, local queries": clip_local,
    "nt_xent, all gathered": nt_xent_whole,
    "nt_xent, local queries": nt_xent_local,
    "siglip, all gathered": siglip_whole,
    "siglip, local queries": siglip_local,
    "sup_con": lambda m, b: contrastive.sup_con(gather(m.one(b["x"])), gather(b["labels"]), m.temperature()),
    "sup_con, local queries": sup_con_local,
    "hard_nt_xent, all gathered": hard_nt_xent_whole,
    "hard_nt_xent, local queries": hard_nt_xent_local,
    "margin_contrastive": lambda m, b: metric_learning.margin_contrastive(*m.views(b), b["labels"] == 1, 3.0),
    "triplet": lambda m, b: metric_learning.triplet(*m.views(b), m.two(b["z"]), 3.0),
    "n_pair": n_pair,
    "lifted_structured": lambda m, b: metric_learning.lifted_structured(on_sphere(m, b), gather(b["labels"])),
    "soft_nearest_neighbor": lambda m, b: metric_learning.soft_nearest_neighbor(
        on_sphere(m, b), gather(b["labels"]), m.temperature()
    ),
    "nce": nce,
    "jensen_shannon": jensen_shannon,
    "masked_cross_entropy": masked_tokens,
    "linear_cross_entropy": linear_tokens,
    "replaced_tokens": replaced_tokens,
    "tiled info_nce": partial(info_nce, module=tiled),
    "tiled clip, all gathered": partial(clip_whole, module=tiled),
    "tiled clip, local queries": partial(clip_local, module=tiled),
    "tiled nt_xent, all gathered": partial(nt_xent_whole, module=tiled),
    "tiled nt_xent, local queries": partial(nt_xent_local, module=tiled),
}


def without_gradient(x: Tensor) -> Tensor:
    return x if world_size() == 1 else gather(x.detach())


def slice_put_back(x: Tensor) -> Tensor:
    """open_clip's old form: only the local slice carries gradient."""
    parts = list(gather(x.detach()).split(len(x)))
    parts[rank()] = x
    return torch.cat(parts)


def local_negatives(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    return contrastive.clip(x, y, m.scale, b["ids"])


def no_offset(m: Model, b: Batch) -> Tensor:
    x, y = m.views(b)
    keys = {"all_image": gather(x), "all_text": gather(y), "all_ids": gather(b["ids"])}
    return contrastive.clip(x, y, m.scale, b["ids"], **keys, offset=0)


def local_ids(m: Model, b: Batch) -> Tensor:
    """Captions of one image on different ranks taken for negatives."""
    x, y = m.views(b)
    return contrastive.clip(gather(x), gather(y), m.scale, gather(b["ids"]) + 10 * (torch.arange(N) >= N // 2))


def mean_of_means(m: Model, b: Batch) -> Tensor:
    total, count = predictive.masked_cross_entropy(m.one(b["x"]), b["tokens"], m.head)
    return total / count


# Each twin names the right loss it must be told from.
TWINS: dict[str, tuple[str, Loss]] = {
    "gathered without gradient": ("clip, local queries", partial(clip_local, to_all=without_gradient)),
    "local slice put back": ("clip, all gathered", partial(clip_whole, to_all=slice_put_back)),
    "local slice put back, keys only": ("info_nce", partial(info_nce, to_all=slice_put_back)),
    "local negatives only": ("clip, all gathered", local_negatives),
    "no rank offset": ("clip, local queries", no_offset),
    "ids that differ between ranks": ("clip, all gathered", local_ids),
    "mean of means": ("masked_cross_entropy", mean_of_means),
}


def run(loss: Loss, dtype: torch.dtype, use_ddp: bool = False) -> Numbers:
    """The loss and all gradients over this world, averaged over its ranks as DDP does."""
    model, rows = Model(loss, dtype), N // world_size()
    part = {name: x[rank() * rows : (rank() + 1) * rows] for name, x in batch_of(dtype).items()}
    trained = DistributedDataParallel(model, find_unused_parameters=True) if use_ddp else model
    value = trained(part)
    value.backward()
    numbers = {"loss": value.detach().clone()}
    numbers |= {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if world_size() > 1:
        for name, x in numbers.items():
            if name == "loss" or not use_ddp:
                dist.all_reduce(x)
                x /= world_size()
    return numbers


def run_all() -> dict[tuple[str, torch.dtype, bool], Numbers]:
    out = {}
    for dtype in LIMITS:
        for name, loss in LOSSES.items():
            out[name, dtype, False] = run(loss, dtype)
            out[name, dtype, True] = run(loss, dtype, use_ddp=True)
        for name, (_, loss) in TWINS.items():
            out[name, dtype, False] = run(loss, dtype)
    return out


def gathers() -> dict[str, Tensor]:
    """Gather's own behaviour on this rank: order, dtypes, and the sum over ranks that comes back."""
    here = float(rank() + 1)
    x = torch.full((2, 3), here, requires_grad=True)
    everything = gather(x)
    (everything * torch.arange(4.0)[:, None] * here).sum().backward()
    strided = gather(torch.arange(6).reshape(2, 3).T + 10 * rank())
    assert x.grad is not None
    return {
        "values": everything.detach(),
        "gradient": x.grad,
        "ids": gather(torch.tensor([rank(), 7])),
        "flags": gather(torch.tensor([rank() == 0])),
        "half": gather(torch.tensor([here], dtype=torch.bfloat16)),
        "strided": strided,
    }


def everything() -> tuple[dict[tuple[str, torch.dtype, bool], Numbers], dict[str, Tensor]]:
    torch.set_num_threads(1)
    return run_all(), gathers()


World = list[tuple[dict[tuple[str, torch.dtype, bool], Numbers], dict[str, Tensor]]]


@pytest.fixture(scope="module")
def world() -> World:
    return run_in_world(everything, processes=2)


def difference(ours: Numbers, truth: Numbers) -> float:
    """The largest difference, relative to the largest entry of the tensor it is in."""
    if ours.keys() != truth.keys():
        return float("inf")
    return max(
        ((ours[name] - truth[name]).abs().max() / truth[name].abs().max().clamp(min=1e-3)).item() for name in truth
    )


@pytest.mark.parametrize("ddp", [False, True], ids=["averaged", "DDP"])
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_equal_one(world: World, name: str, dtype: torch.dtype, ddp: bool) -> None:
    truth = run(LOSSES[name], dtype)
    assert truth["loss"] > 0 and len(truth) > 2
    for numbers, _ in world:
        assert difference(numbers[name, dtype, ddp], truth) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("name", TWINS)
def test_broken_twins_are_caught(world: World, name: str, dtype: torch.dtype) -> None:
    right, broken = TWINS[name]
    truth = run(LOSSES[right], dtype)
    for numbers, _ in world:
        assert difference(numbers[name, dtype, False], truth) > LIMITS[dtype]
    if name not in ("ids that differ between ranks",):  # a mistake of the batch, not of the collective
        assert difference(run(broken, dtype), truth) < LIMITS[dtype]  # and on one process none of them shows


def test_a_slice_put_back_scales_the_encoder_and_not_the_temperature(world: World) -> None:
    truth = run(clip_whole, torch.float64)
    numbers = world[0][0]["local slice put back", torch.float64, False]
    assert torch.allclose(numbers["one.weight"] * 2, truth["one.weight"], rtol=1e-12, atol=0)
    assert torch.allclose(numbers["scale"], truth["scale"], rtol=1e-12, atol=0)


def test_gather(world: World) -> None:
    for number, (_, got) in enumerate(world):
        assert got["values"][:, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
        # row r of the whole is weighted r * 1 by rank 0 and r * 2 by rank 1
        assert got["gradient"][:, 0].tolist() == [[0.0, 3.0], [6.0, 9.0]][number]
        assert got["ids"].tolist() == [0, 7, 1, 7] and got["ids"].dtype == torch.long
        assert got["flags"].tolist() == [True, False]
        assert got["half"].dtype == torch.bfloat16 and got["half"].tolist() == [1.0, 2.0]
        assert got["strided"].tolist() == [[0, 3], [1, 4], [2, 5], [10, 13], [11, 14], [12, 15]]


def test_a_world_of_one_is_left_alone() -> None:
    x = torch.zeros(3)
    assert gather(x) is x and (rank(), world_size()) == (0, 1)
