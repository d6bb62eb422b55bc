"""Training asks a device nothing and sends it nothing, for a GPU that has to answer stands idle meanwhile; and the same
views come out there."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from modalities.draws import uniform_on_device
from modalities.vision import masks
from modalities.vision.constants import constant
from modalities.vision.patches import shuffled
from modalities.vision.views import policy
from modalities.vision.views.blur import blur_all, blur_chosen
from modalities.vision.views.pipeline import ViewConfig, make_views
from modalities.vision.views.presets import simclr
from tests.vision import examples_colour, examples_masked, examples_pixels, examples_relations, examples_supervised

EVERYTHING = replace(simclr(20), solarise=0.3, policy_ops=3)
EXAMPLES = {
    **examples_relations.EXAMPLES,
    **examples_pixels.EXAMPLES,
    **examples_colour.EXAMPLES,
    **examples_masked.EXAMPLES,
    **examples_supervised.EXAMPLES,
}
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="compares a GPU with the CPU")


class Host(TorchDispatchMode):
    """Writes down the operations that touch the CPU's memory."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.used.add(str(function))
        return out


def used_of_the_host(step: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What a second `step` does with tensors of the CPU, when its own are on `meta`: a device without numbers, on which
    every question about them is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # it does not know `meta`
    step()  # constants are built here
    build = torch.tensor
    with Host() as host, monkeypatch.context() as patch:
        # It copies inside, where no mode looks.
        patch.setattr(torch, "tensor", lambda *a, **k: host.used.add("tensor") or build(*a, **k))
        step()
    return host.used


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_step_does_not_wait_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = EXAMPLES[name][1]()
    task, batch = task.train().to("meta"), {key: value.to("meta") for key, value in batch.items()}
    assert used_of_the_host(lambda: task(batch)["loss"].backward(), monkeypatch) == set()


def test_views_do_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    images, seeds = (value.to("meta") for value in pictures())
    assert used_of_the_host(lambda: make_views(images, seeds, EVERYTHING), monkeypatch) == set()
    # The broken twins: places on the CPU, a constant built anew, one moved anew, and a question.
    places, factors = torch.arange(2), torch.ones(3)
    assert used_of_the_host(lambda: images[places], monkeypatch)
    assert used_of_the_host(lambda: factors.to(images.device), monkeypatch)
    assert used_of_the_host(lambda: torch.tensor([1.0, 2.0], device="meta"), monkeypatch)
    with pytest.raises(NotImplementedError, match="nonzero"):
        used_of_the_host(lambda: images[seeds > 0], monkeypatch)


def test_rows_that_are_not_asked_for_stay_as_they_are() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels, columns = torch.rand(9, 3, 20, 24, generator=draw), torch.rand(9, 20, 24, generator=draw)
    chosen, sigma = torch.arange(9) % 3 == 1, 0.1 + 2 * torch.rand(9, generator=draw)
    wanted = blur_chosen(pixels.clone(), columns.clone(), chosen, sigma)
    found = blur_all(pixels, columns, chosen, sigma)
    for after, expected, before in zip(found, wanted, (pixels, columns), strict=True):
        assert (after - expected).abs().max() < 1e-6 and torch.equal(after[~chosen], before[~chosen])
    assert (blur_all(pixels, columns, ~chosen, sigma)[0] - wanted[0]).abs().max() > 0.1


def test_a_policy_changes_the_same_rows_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    images, seeds = pictures()
    wanted = make_views(images, seeds, EVERYTHING)
    monkeypatch.setattr(policy, "change_chosen", policy.change_all)
    assert (make_views(images, seeds, EVERYTHING) - wanted).abs().max() < 1e-6
    monkeypatch.setattr(policy, "change_chosen", lambda x, chosen, *rest: policy.change_all(x, ~chosen, *rest))
    assert (make_views(images, seeds, EVERYTHING) - wanted).abs().max() > 0.1


def test_a_constant_first_used_in_evaluation_can_be_trained_through() -> None:
    weight = torch.ones(2, dtype=torch.float16, requires_grad=True)
    with torch.inference_mode():
        constant((3.0, 4.0), torch.ones(1, dtype=torch.float16))
    (constant((3.0, 4.0), weight) * weight).sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [3, 4]


def pictures(n: int = 40) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 24, 24), generator=draw, dtype=torch.uint8)
    return images, torch.randint(-(2**62), 2**62, (n,), generator=draw)


@on_a_gpu
@pytest.mark.parametrize("cfg", [ViewConfig(side=20), simclr(20), replace(simclr(20), bicubic=True), EVERYTHING])
def test_views_are_the_same_on_both_devices(cfg: ViewConfig) -> None:
    images, seeds = pictures()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = make_views(images.cuda(), seeds.cuda(), cfg, 3).cpu()

    def apart(wanted: Tensor) -> int:
        return int(((found - wanted).abs().amax((1, 2, 3)) > 1e-5).sum())

    # A value just beside a threshold (posterise, equalise, solarise) may fall on its other side: rows, not values.
    assert apart(make_views(images, seeds, cfg, 3)) <= (3 if cfg.policy_ops else 0)
    assert apart(make_views(images, seeds, cfg, 4)) > 30


@on_a_gpu
def test_draws_and_masks_are_the_same_on_both_devices() -> None:
    seeds = pictures()[1]
    uses: dict[str, Callable[[Tensor, int], Tensor]] = {
        "draws": lambda seeds, stream: uniform_on_device(seeds, 9, stream),
        "order": lambda seeds, stream: shuffled(seeds, 64, stream),
        "blocks": lambda seeds, stream: masks.blocks(seeds, 32, 0.25, stream),
        "region": lambda seeds, stream: masks.region(seeds, 32, 0.25, stream),
    }
    for name, use in uses.items():
        found = use(seeds.cuda(), 1).cpu()
        differ = [(found != use(seeds, stream)).double().mean() for stream in (1, 2)]
        # Of a region, a pixel may lie just on its border.
        assert differ[0] <= (1e-3 if name == "region" else 0) and differ[1] > 0.1, name
