"""Mixup and CutMix: what is mixed, how much of it, and with whom on two processes."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from modalities.vision.views.mixing import cutmix, mixup
from tests.world import run_in_world

Mix = Callable[..., tuple[Tensor, Tensor]]


def rows(n: int, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Each image has one value of its own, its class is its number: images, targets, seeds."""
    values = torch.arange(n).double()
    return values[:, None, None, None].expand(n, 3, side, side), torch.eye(n).double(), torch.arange(n) * 7919


def partners(targets: Tensor) -> Tensor:
    """Which other class each row has, (n,); itself where it has none."""
    other = targets.clone()
    other.fill_diagonal_(0)
    return torch.where(other.amax(1) > 0, other.argmax(1), torch.arange(len(targets)))


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_targets_say_what_the_images_are_made_of(mix: Mix) -> None:
    images, targets, seeds = rows(64)
    mixed, found = mix(images, targets, seeds, 1.0)
    assert (found.sum(1) - 1).abs().max() < 1e-12
    assert (mixed.mean((1, 2, 3)) - found @ torch.arange(64).double()).abs().max() < 1e-9
    assert (mixed.mean((1, 2, 3)) - targets @ torch.arange(64).double()).abs().max() > 1  # the broken twin: unmixed


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_everyone_is_mixed_into_one_other(mix: Mix) -> None:
    images, targets, seeds = rows(64, 64)
    one = partners(mix(images, targets, seeds, 1.0)[1])
    seen = one != torch.arange(64)
    assert seen.sum() > 58  # a box may be too small to be seen
    assert len(set(one[seen].tolist())) == seen.sum()
    assert (partners(mix(images, targets, seeds, 1.0, stream=1)[1]) != one).sum() > 50


@pytest.mark.parametrize(("alpha", "deviation"), [(0.2, 0.4226), (1.0, 0.2887), (8.0, 0.1213)])
def test_shares_are_beta(alpha: float, deviation: float) -> None:
    images, targets, seeds = rows(2000, 1)
    share = mixup(images, targets, seeds, alpha)[1].diagonal()
    assert abs(share.mean() - 0.5) < 4 * deviation / 2000**0.5
    assert abs(share.std() - deviation) < 0.02  # 1 / (2 sqrt(2 alpha + 1))


def test_cutmix_pastes_a_rectangle() -> None:
    images, targets, seeds = rows(64, 32)
    mixed, found = cutmix(images, targets, seeds, 1.0)
    for row, (image, target) in enumerate(zip(mixed[:, 0], found, strict=True)):
        other = image != row
        box = other.any(1)[:, None] & other.any(0)
        assert (other == box).all() and (other.double().mean() - (1 - target[row])).abs() < 1e-12
    assert (1 - found.diagonal()).mean() > 0.2


def nearest(images: Tensor, targets: Tensor, seeds: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Broken twin: the partner is the next row of the same process."""
    return (images + images.roll(1, 0)) / 2, (targets + targets.roll(1, 0)) / 2


def _share(mix: Mix) -> tuple[Tensor, Tensor]:
    part = slice(8 * dist.get_rank(), 8 * dist.get_rank() + 8)
    images, targets, seeds = (x[part].contiguous() for x in rows(16))
    return mix(images, targets, seeds, 0.5)


def _world() -> list[tuple[Tensor, Tensor]]:
    return [_share(mix) for mix in (mixup, cutmix, nearest)]


def test_two_processes_mix_as_one_does() -> None:
    worlds = run_in_world(_world)
    for place, mix in enumerate((mixup, cutmix, nearest)):
        alone = mix(*rows(16), 0.5)
        together = [torch.cat([world[place][k] for world in worlds]) for k in (0, 1)]
        equal = all((a - b).abs().max() < 1e-12 for a, b in zip(alone, together, strict=True))
        assert equal == (mix is not nearest), mix


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_a_share_without_spread_is_refused(mix: Mix) -> None:
    with pytest.raises(ValueError, match="alpha 0 "):
        mix(*rows(4), 0.0)
