"""CIE Lab against scikit-image's."""

import pytest
import torch
from skimage import color
from torch import Tensor

from modalities.vision.lab import lab_to_rgb, rgb_to_lab


def colours(dtype: torch.dtype) -> Tensor:
    """Random ones, the corners of the cube and dark greys, (2, 3, 40, 25)."""
    draw = torch.Generator().manual_seed(0)
    rgb = torch.rand(2, 3, 40, 25, generator=draw, dtype=torch.float64)
    rgb[0, :, 0, :8] = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3).T
    rgb[1, :, :, 0] = torch.linspace(0, 0.1, 40)
    return rgb.to(dtype)


def last(images: Tensor) -> Tensor:
    return images.movedim(1, -1)


def apart(left: Tensor, right: Tensor) -> float:
    return (left - right).abs().max().item()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_lab_is_that_of_scikit_image(dtype: torch.dtype, tolerance: float) -> None:
    rgb = colours(dtype)
    lab = rgb_to_lab(rgb)
    assert lab.dtype == dtype
    wanted = torch.from_numpy(color.rgb2lab(last(rgb.double()).numpy()))
    scale = 100.0  # of the values, which the tolerance is relative to
    assert apart(last(lab), wanted) < tolerance * scale
    other_white = torch.from_numpy(color.rgb2lab(last(rgb.double()).numpy(), illuminant="D50"))  # the broken twin
    assert apart(last(lab), other_white) > 1


def test_the_way_back_is_that_of_scikit_image() -> None:
    lab = rgb_to_lab(colours(torch.float64))
    assert apart(lab_to_rgb(lab), torch.from_numpy(color.lab2rgb(last(lab).numpy())).movedim(-1, 1)) < 1e-12
    assert apart(lab_to_rgb(lab.roll(1, 1)), lab_to_rgb(lab)) > 0.1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_there_and_back(dtype: torch.dtype, tolerance: float) -> None:
    """fp64 is as exact as the standard's rounded constants, whose two pieces do not quite meet."""
    rgb = colours(dtype)
    assert apart(lab_to_rgb(rgb_to_lab(rgb)), rgb) < tolerance


def test_colours_beyond_srgb_are_clamped() -> None:
    lab = torch.tensor([[50.0, 150.0, 0.0], [50.0, -150.0, 100.0], [10.0, 0.0, 150.0]])[:, :, None, None]
    rgb = lab_to_rgb(lab)
    assert rgb.isfinite().all() and rgb.min() == 0 and rgb.max() == 1
    with pytest.warns(UserWarning, match="negative Z"):  # scikit-image's way to say so
        wanted = color.lab2rgb(last(lab.double()).numpy())
    assert apart(last(rgb).double(), torch.from_numpy(wanted)) < 1e-5


def test_white_black_and_grey_have_no_colour() -> None:
    grey = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)[:, None, None, None].expand(-1, 3, 1, 1)
    lab = rgb_to_lab(grey)[..., 0, 0]
    assert lab[:, 1:].abs().max() < 0.01  # the primaries' six digits do not quite sum to the white point
    assert apart(lab[[0, 2], 0], torch.tensor([0.0, 100.0], dtype=torch.float64)) < 1e-12


def test_autocast_does_not_blur_colours() -> None:
    rgb = colours(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lab, without_guard = rgb_to_lab(rgb), rgb_to_lab.__wrapped__(rgb)  # type: ignore[attr-defined]
        back = lab_to_rgb(lab)
    assert apart(lab, rgb_to_lab(rgb)) == 0 and apart(back, lab_to_rgb(lab)) == 0
    assert apart(without_guard, lab) > 1
