"""Colours and blur of many images against one at a time."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.vision.views.blur import blur_taps
from modalities.vision.views.colour import COLOUR_DRAWS, factors, luma, recolour, solarise
from modalities.vision.views.crop import combine_rows
from tests.reference import views as reference

FACTORS = [
    (1.0, 1.0, 1.0, 0.0),
    (0.5, 1.0, 1.0, 0.0),
    (1.0, 1.7, 1.0, 0.0),
    (1.0, 1.0, 0.0, 0.0),
    (1.0, 1.0, 1.0, 1.2),
    (1.3, 0.6, 1.4, -0.6),
]


def images(n: int, side: int = 12) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def around_the_middle(x: Tensor, found: Tensor) -> Tensor:
    """Broken twin: contrast moves values away from 1/2 instead of the image's own mean."""
    mean = found[:, 0] * luma(x).mean((1, 2, 3))
    offset = (1 - found[:, 1]) * (0.5 - mean)
    return (recolour(x, found) + offset[:, None, None, None]).clamp(0, 1)


def test_one_matrix_is_four_operations_in_a_row() -> None:
    x, found = images(len(FACTORS)), torch.tensor(FACTORS)

    def error(recoloured: Tensor) -> float:
        wanted = [reference.recoloured(a.double().numpy(), *f) for a, f in zip(x, FACTORS, strict=True)]
        return float((torch.from_numpy(np.stack(wanted)) - recoloured).abs().max())

    assert error(recolour(x, found).clamp(0, 1)) < 1e-5
    assert error(around_the_middle(x, found)) > 0.01


@pytest.mark.parametrize(
    ("place", "enhance"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)]
)
@pytest.mark.parametrize("factor", [0.4, 1.6])
def test_each_factor_means_what_it_does_in_pillow(place: int, enhance: Callable, factor: float) -> None:
    x = images(1)
    picture = reference.as_picture(x[0].numpy())
    wanted = torch.from_numpy(reference.as_pixels(enhance(picture).enhance(factor)))
    found = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    found[0, place] = factor
    # Pillow rounds the image, its grey or mean, and the result to bytes: half a step each, grown by the factors.
    assert (recolour(x, found)[0].clamp(0, 1) - wanted).abs().max() < 2.5 / 255


def test_hue_turns_colours_and_keeps_their_luma() -> None:
    x = 0.5 + 0.2 * (images(2) - 0.5)  # far from the ends, where cutting off would change the luma
    turned = recolour(x, torch.tensor([[1.0, 1, 1, 2.0], [1, 1, 1, -2.0]]))
    assert (luma(turned) - luma(x)).abs().max() < 1e-5
    assert (turned - x).abs().mean() > 0.01
    back = recolour(turned, torch.tensor([[1.0, 1, 1, -2.0], [1, 1, 1, 2.0]]))
    assert (back - x).abs().max() < 1e-5


def test_factors_lie_where_color_jitter_draws_them() -> None:
    u = uniform_on_device(torch.arange(4000), COLOUR_DRAWS, 1)
    found = factors(u, 0.8, 0.4, 1.5, 0.2, 0.1, 0.25)
    changed = (found[:, 0] != 1).double().mean()
    grey = (found[:, 2] == 0).double().mean()
    assert abs(changed - 0.8) < 0.03 and abs(grey - 0.25) < 0.03  # four standard errors
    assert ((found[:, [0, 1, 3]] == torch.tensor([1.0, 1.0, 0.0])).all(1) == (found[:, 0] == 1)).all()
    hues = (-0.2 * math.pi, 0.2 * math.pi)
    for column, (low, high) in zip(found.unbind(1), [(0.6, 1.4), (0.0, 2.5), (0.8, 1.2), hues], strict=True):
        inner = column[(column != 0) & (column != 1)]
        width = high - low
        assert inner.min() >= low - 1e-6 and inner.max() <= high + 1e-6
        assert inner.min() < low + 0.02 * width and inner.max() > high - 0.02 * width
        assert abs(inner.mean() - (low + high) / 2) < 0.03 * width


def test_solarise_turns_the_bright_half_around() -> None:
    x, chosen = images(2), torch.tensor([True, False])
    found = solarise(x, chosen)
    assert (found[1] == x[1]).all()
    assert (found[0] == torch.where(x[0] >= 0.5, 1 - x[0], x[0])).all() and found[0].max() <= 0.5


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    found = blur_taps(sigma, x.shape[2])
    return combine_rows(combine_rows(x, found).transpose(2, 3), found).transpose(2, 3)


@pytest.mark.parametrize("side", [3, 12, 45])
def test_blur_is_a_gaussian_window_around_each_place(side: int) -> None:
    x, sigma = images(2, side), [0.6, 2.0]

    def error(found: Tensor) -> float:
        wanted = [reference.blurred(a.double().numpy(), s) for a, s in zip(x, sigma, strict=True)]
        return float((torch.from_numpy(np.stack(wanted)) - found).abs().max())

    assert error(blurred(x, torch.tensor(sigma))) < 1e-5
    assert error(blurred(x, torch.tensor(sigma[::-1]))) > 0.01  # the broken twin: another row's width
    assert (blurred(x, torch.tensor([0.05, 0.05])) == x).all()


def test_a_picture_without_colour_stays_without() -> None:
    grey = torch.from_numpy(np.asarray(Image.linear_gradient("L")).copy())[None, None].expand(1, 3, -1, -1) / 255
    found = recolour(grey, torch.tensor([[1.1, 0.8, 1.9, 1.0]]))
    assert (found.amax(1) - found.amin(1)).max() < 1e-5
