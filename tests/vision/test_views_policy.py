"""Each operation of the random policy against Pillow or a loop, and what is drawn."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.vision.views.policy import GEOMETRIC, PHOTOMETRIC, POLICY_DRAWS, affine, random_augment
from tests.reference import views as reference

NAMES = [*GEOMETRIC, *PHOTOMETRIC, "nothing"]


def images(n: int, side: int = 16) -> Tensor:
    """Bytes in [0, 1], so that Pillow sees the same values; not all of the range, so that stretching shows."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(20, 200, (n, 3, side, side), generator=generator) / 255


def draws(names: list[list[str]], positive: bool = True) -> Tensor:
    """Draws that choose these operations, (n, POLICY_DRAWS * operations)."""
    rows = [[value for name in row for value in ((NAMES.index(name) + 0.5) / len(NAMES), positive)] for row in names]
    return torch.tensor(rows, dtype=torch.float32)


def augmented(x: Tensor, u: Tensor, strength: float) -> Tensor:
    x = x.clone()
    random_augment(x, u, strength)
    return x


PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": lambda image, m: ImageEnhance.Brightness(image).enhance(1 + 0.9 * m),
    "contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(1 + 0.9 * m),
    "saturation": lambda image, m: ImageEnhance.Color(image).enhance(1 + 0.9 * m),
    "sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * m),
    "posterise": lambda image, m: ImageOps.posterize(image, 8 - round(4 * abs(m))),
    "solarise": lambda image, m: ImageOps.solarize(image, 255 * (1 - abs(m))),
    "autocontrast": lambda image, m: ImageOps.autocontrast(image),
    "equalise": lambda image, m: ImageOps.equalize(image),
}


@pytest.mark.parametrize("m", [-0.7, 0.5, 1.0])
@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_operations_are_pillows(name: str, m: float) -> None:
    x = images(3)
    x[2] = 0.2  # one colour: nothing to stretch or to equalise
    wanted = np.stack([reference.as_pixels(PILLOW[name](reference.as_picture(one.numpy()), m)) for one in x])
    found = augmented(x, draws([[name]] * 3, positive=m > 0), abs(m))
    exact = name in ("posterise", "equalise", "solarise")
    assert (found - torch.from_numpy(wanted)).abs().max() < (1e-5 if exact else 2.5 / 255)
    if name not in ("autocontrast", "equalise"):  # the broken twin: without the strength
        assert (augmented(x, draws([[name]] * 3, positive=m > 0), 0.0) - found).abs().max() > 0.01


TURN = math.pi / 6
MATRICES = {
    "shear x": lambda m: [[1, 0.3 * m, 0], [0, 1, 0], [0, 0, 1]],
    "shear y": lambda m: [[1, 0, 0], [0.3 * m, 1, 0], [0, 0, 1]],
    "move x": lambda m: [[1, 0, 300 / 331 * m], [0, 1, 0], [0, 0, 1]],
    "move y": lambda m: [[1, 0, 0], [0, 1, 300 / 331 * m], [0, 0, 1]],
    "rotate": lambda m: [
        [math.cos(TURN * m), -math.sin(TURN * m), 0],
        [math.sin(TURN * m), math.cos(TURN * m), 0],
        [0, 0, 1],
    ],
}


@pytest.mark.parametrize("m", [-0.7, 1.0])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_operations_read_where_their_matrix_says(name: str, m: float) -> None:
    x = images(1, 9)
    wanted = torch.from_numpy(reference.moved(x[0].double().numpy(), np.array(MATRICES[name](m))))
    assert (augmented(x, draws([[name]], m > 0), abs(m))[0] - wanted).abs().max() < 1e-5
    assert (augmented(x, draws([[name]], m < 0), abs(m))[0] - wanted).abs().max() > 0.05


def test_geometric_operations_of_one_image_are_one_resample() -> None:
    x = images(1, 9)
    both = torch.tensor(MATRICES["shear x"](0.8)) @ torch.tensor(MATRICES["rotate"](0.8))
    found = augmented(x, draws([["shear x", "rotate"]]), 0.8)
    assert (found - affine(x, both[None])).abs().max() < 1e-5
    twice = augmented(augmented(x, draws([["shear x"]]), 0.8), draws([["rotate"]]), 0.8)
    assert (found - twice).abs().max() > 0.02


def test_operations_come_in_the_order_drawn_each_on_its_row() -> None:
    x = images(3)
    rows = [["solarise", "contrast"], ["contrast", "solarise"], ["nothing", "nothing"]]
    found = augmented(x, draws(rows), 0.6)
    for one, row, result in zip(x, rows, found, strict=True):
        alone = one[None]
        for name in row:
            alone = augmented(alone, draws([[name]]), 0.6)
        assert (alone[0] - result).abs().max() < 1e-6
    assert (found[2] == x[2]).all()
    swapped = augmented(x, draws([rows[1], rows[0], rows[2]]), 0.6)
    assert (swapped[:2] - found[:2]).abs().amax((1, 2, 3)).min() > 0.02


def test_every_operation_is_drawn_and_values_stay_in_range() -> None:
    u = uniform_on_device(torch.arange(2800), 2 * POLICY_DRAWS, 5)
    counts = np.bincount((u[:, ::2] * len(NAMES)).long().flatten().numpy(), minlength=len(NAMES))
    assert len(NAMES) == 14 and np.abs(counts - 400).max() < 80  # four standard errors
    found = augmented(images(280), u[:280], 1.0)
    assert found.min() >= 0 and found.max() <= 1 and found.isfinite().all()
