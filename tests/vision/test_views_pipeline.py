"""Whole views: against one image at a time, and what they may depend on."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.vision.views import pipeline
from modalities.vision.views.colour import COLOUR_DRAWS, factors
from modalities.vision.views.crop import CROP_DRAWS
from modalities.vision.views.pil import crop_with_pil
from modalities.vision.views.pipeline import ViewConfig, make_views, view_boxes
from modalities.vision.views.presets import byol, dino, simclr
from tests.reference import views as reference

ALL = replace(simclr(20), solarise=0.3, policy_ops=2)
"""Everything switched on."""


def noise(n: int, h: int = 24, w: int = 24) -> Tensor:
    return torch.randint(0, 256, (n, 3, h, w), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def photo(n: int, side: int) -> Tensor:
    """Smooth images with colours that differ, as bytes."""
    y, x = torch.meshgrid(torch.linspace(0, 3, side), torch.linspace(0, 3, side), indexing="ij")
    waves = [(a * x + b * y + c).sin() for a, b, c in ((2, 1, 0), (1, 3, 1), (3, 2, 2))]
    base = (torch.stack(waves) + 1) / 2 * 255
    return torch.stack([base.roll(shift, 2) for shift in range(n)]).byte()


def one_at_a_time(images: Tensor, seeds: Tensor, cfg: ViewConfig, stream: int) -> Tensor:
    u = uniform_on_device(seeds, CROP_DRAWS + 3 + COLOUR_DRAWS + 1, stream)
    boxes = view_boxes(seeds, torch.tensor(images.shape[2]), torch.tensor(images.shape[3]), cfg, stream).tolist()
    flip, blur, width, *colour, negative = u[:, CROP_DRAWS:].unbind(1)
    strengths = (cfg.jitter, cfg.brightness, cfg.contrast, cfg.saturation, cfg.hue, cfg.grey)
    found = factors(torch.stack(colour, 1), *strengths).tolist()
    views = []
    for row, image in enumerate(images.numpy()):
        view = reference.resized(image, boxes[row], cfg.side, cfg.bicubic)
        if flip[row] < cfg.flip:
            view = view[:, :, ::-1]
        if blur[row] < cfg.blur:
            view = reference.blurred(view, cfg.min_sigma + (cfg.max_sigma - cfg.min_sigma) * float(width[row]))
        view = reference.recoloured(np.clip(view, 0, 1), *found[row])
        views.append(np.where(view < 0.5, view, 1 - view) if negative[row] < cfg.solarise else view)
    return torch.from_numpy(np.stack(views))


@pytest.mark.parametrize("bicubic", [False, True])
def test_views_are_made_as_one_image_at_a_time(bicubic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    images, seeds = photo(24, 30), torch.arange(24)
    cfg = replace(byol(16)[1], blur=0.5, bicubic=bicubic)
    monkeypatch.setattr(pipeline, "_PART_CPU", 5 * 4 * 3 * 30 * 30)  # five rows at a time
    wanted = one_at_a_time(images, seeds, cfg, 7)
    # Of a value that solarising finds within rounding of its threshold, both sides are nearly the same.
    assert (make_views(images, seeds, cfg, 7) - wanted).abs().max() < 1e-5
    for broken in (replace(cfg, flip=0.4), replace(cfg, hue=0.2), replace(cfg, max_sigma=1.5), replace(cfg, jitter=0)):
        assert (make_views(images, seeds, broken, 7) - wanted).abs().max() > 0.01


def test_settings_that_change_nothing_return_the_image() -> None:
    images, seeds = noise(9), torch.arange(9)
    still = ViewConfig(side=24, min_area=1, flip=0)
    for cfg in (still, replace(still, jitter=1, brightness=0, contrast=0, saturation=0, hue=0)):
        assert (make_views(images, seeds, cfg) == images / 255).all()
    blurred = make_views(images, seeds, replace(still, blur=1, min_sigma=0.01, max_sigma=0.01))
    assert (blurred - images / 255).abs().max() < 1e-6  # a product with 1/255 instead of a quotient
    assert (make_views(images, seeds, replace(still, flip=1)) == images.flip(3) / 255).all()


def positions(images: Tensor, seeds: Tensor, cfg: ViewConfig, stream: int = 0) -> Tensor:
    """Broken twin: a row's view depends on its place in the batch."""
    return make_views(images, seeds + torch.arange(len(seeds)), cfg, stream)


def belongs_to_rows(views: Callable[..., Tensor]) -> bool:
    images, seeds = noise(40), torch.arange(40) * 7919
    whole = views(images, seeds, ALL)
    parts = torch.cat([views(images[i : i + 8], seeds[i : i + 8], ALL) for i in range(0, 40, 8)])
    alone = torch.cat([views(images[i : i + 1], seeds[i : i + 1], ALL) for i in range(40)])
    # A value just beside a threshold (posterise, equalise, solarise) may fall on its other side: rows, not values.
    differ = [((whole - other).abs().amax((1, 2, 3)) > 1e-5).sum() for other in (parts, alone)]
    return bool(max(differ) <= 2)


def test_a_view_depends_on_its_own_seed_only() -> None:
    assert belongs_to_rows(make_views)
    assert not belongs_to_rows(positions)


def test_streams_and_seeds_give_other_views_and_settings_do_not_move_the_crop() -> None:
    images, seeds = noise(16), torch.arange(16)
    cfg = ViewConfig(side=20)
    first = make_views(images, seeds, cfg)
    for other in (make_views(images, seeds, cfg, 1), make_views(images, seeds + 16, cfg)):
        assert ((first - other).abs().amax((1, 2, 3)) > 0.1).all()
    rest = make_views(images, seeds, replace(cfg, blur=0.3, solarise=0.3))
    same = (first - rest).abs().amax((1, 2, 3)) < 1e-5
    assert 4 <= same.sum() < 16


def test_views_lie_between_0_and_1_in_single_precision() -> None:
    for cfg in (ALL, replace(ALL, bicubic=True), ViewConfig(side=20, bicubic=True)):
        found = make_views(noise(50), torch.arange(50), cfg)
        assert found.shape == (50, 3, 20, 20) and found.dtype == torch.float32
        assert found.min() >= 0 and found.max() <= 1


def test_mixed_precision_leaves_views_alone() -> None:
    images, seeds = noise(6), torch.arange(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = make_views(images, seeds, simclr(20))
    assert (found == make_views(images, seeds, simclr(20))).all()


def share(changed: Tensor) -> float:
    return float(changed.double().mean())


def test_things_happen_as_often_as_their_probability_says() -> None:
    images, seeds = photo(1, 8).expand(3000, -1, -1, -1), torch.arange(3000)
    still = ViewConfig(side=8, min_area=1, flip=0)
    plain = make_views(images, seeds, still)
    for name in ("flip", "blur", "grey", "solarise"):
        cfg = replace(still, **{name: 0.3}, min_sigma=1.0)
        changed = (make_views(images, seeds, cfg) - plain).abs().amax((1, 2, 3)) > 1e-3
        assert abs(share(changed) - 0.3) < 0.034, name  # four standard errors


@pytest.mark.parametrize("bicubic", [False, True])
def test_pillow_in_the_loader_cuts_out_the_same_box(bicubic: bool) -> None:
    images, seeds = photo(10, 90)[:, :, :70], torch.arange(10)
    cfg = replace(simclr(32), bicubic=bicubic)

    def in_the_loader(stream: int) -> Tensor:
        pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        return torch.stack([crop_with_pil(*pair, cfg, stream) for pair in zip(pictures, seeds, strict=True)])

    plain = replace(cfg, jitter=0, grey=0, blur=0, flip=0)
    wanted = make_views(images, seeds, plain, 2)
    # Pillow rounds to bytes after the columns and after the rows.
    assert (in_the_loader(2) / 255 - wanted).abs().max() < 1.6 / 255
    assert (in_the_loader(3) / 255 - wanted).abs().max() > 0.1
    rest = make_views(in_the_loader(2), seeds, replace(cfg, min_area=1), 2)
    assert (rest - make_views(images, seeds, cfg, 2)).abs().max() < 8 / 255  # strong colours widen the rounding


def test_presets() -> None:
    first, second = byol(64)
    assert (first.blur, first.solarise, second.blur, second.solarise) == (1.0, 0.0, 0.1, 0.2)
    assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (simclr(32, 0.5).brightness, simclr(32, 0.5).hue, simclr(32).hue) == (0.4, 0.1, 0.2)
    large, other, small = dino(64, 32)
    assert (large.min_area, large.side, other.solarise) == (0.4, 64, 0.2)
    assert (small.side, small.min_area, small.max_area, small.blur) == (32, 0.05, 0.4, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 0},
        {"min_area": 0.0},
        {"min_area": 0.5, "max_area": 0.4},
        {"max_area": 1.5},
        {"flip": 1.1},
        {"grey": -0.1},
        {"policy_strength": 2.0},
        {"contrast": -1.0},
        {"policy_ops": -1},
        {"hue": 0.6},
        {"min_sigma": 0.0},
        {"min_sigma": 3.0},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, float]) -> None:
    name, value = list(wrong.items())[-1]
    with pytest.raises(ValueError, match=re.escape(f"views.{name} {value:g}")):
        ViewConfig(**wrong)


def test_no_images_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="0 images"):
        make_views(noise(0), torch.arange(0), ViewConfig())
