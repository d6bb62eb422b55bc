"""Crops: the boxes of RandomResizedCrop, resized as Pillow does."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.vision.views.crop import CROP_DRAWS, combine_columns, combine_rows, matrix, random_boxes, taps
from tests.reference import views as reference

BOXES = [
    (0.0, 0.0, 48.0, 40.0),  # the whole image
    (3.3, 4.7, 21.9, 20.2),  # grows
    (10.25, 2.5, 42.0, 39.0),
    (0.0, 39.0, 0.5, 40.0),  # less than a pixel, in a corner
]


def noise(n: int, h: int, w: int) -> Tensor:
    """The hardest images to resize alike: neighbouring pixels have nothing in common."""
    return torch.randint(0, 256, (n, 3, h, w), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def cut(images: Tensor, boxes: Tensor, side: int, bicubic: bool) -> Tensor:
    h, w = images.shape[2:]
    left, top, right, bottom = boxes.unbind(1)
    rows = combine_rows(images.float(), taps(top, bottom, h, side, bicubic))
    return combine_columns(rows, matrix(taps(left, right, w, side, bicubic), w)) / 255


def aliased(images: Tensor, boxes: Tensor, side: int, bicubic: bool) -> Tensor:
    """Broken twin: four (or sixteen) pixels to a sample, whatever the scale, as grid_sample reads."""
    size = torch.tensor([images.shape[3], images.shape[2]])
    low, high = 2 * boxes[:, :2] / size - 1, 2 * boxes[:, 2:] / size - 1
    theta = torch.zeros(len(images), 2, 3)
    theta[:, [0, 1], [0, 1]], theta[:, :, 2] = (high - low) / 2, (high + low) / 2
    grid = F.affine_grid(theta, [len(images), 3, side, side], align_corners=False)
    mode = "bicubic" if bicubic else "bilinear"
    return F.grid_sample(images / 255, grid, mode=mode, padding_mode="border", align_corners=False)


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("side", [1, 16, 33, 64])
def test_resizes_as_pillow_does(side: int, bicubic: bool) -> None:
    images, boxes = noise(len(BOXES), 40, 48), torch.tensor(BOXES)

    def error(found: Tensor) -> float:
        pairs = zip(images.numpy(), BOXES, found.double().numpy(), strict=True)
        return max(np.abs(reference.resized(image, box, side, bicubic) - one).max() for image, box, one in pairs)

    assert error(cut(images, boxes, side, bicubic)) < 1e-5
    if side < 40:  # where boxes shrink
        assert error(aliased(images, boxes, side, bicubic)) > 0.05


def test_large_images_shrink_as_pillow_does() -> None:
    images = noise(1, 300, 500)
    box = (7.5, 0.0, 493.25, 299.5)
    found = cut(images, torch.tensor([box]), 24, False)[0].double().numpy()
    assert np.abs(reference.resized(images[0].numpy(), box, 24, False) - found).max() < 1e-5


def test_a_box_from_right_to_left_mirrors() -> None:
    images, boxes = noise(len(BOXES), 40, 48), torch.tensor(BOXES)
    mirrored = cut(images, boxes[:, [2, 1, 0, 3]], 20, True)
    assert (mirrored - cut(images, boxes, 20, True).flip(3)).abs().max() < 1e-5


def test_the_whole_image_at_its_own_size_is_unchanged() -> None:
    images = noise(3, 32, 32)
    boxes = torch.tensor([[0.0, 0, 32, 32]]).expand(3, 4)
    for bicubic in (False, True):
        assert (cut(images, boxes, 32, bicubic) == images / 255).all()


def boxes_of(count: int, height: int, width: int, low: float, high: float) -> Tensor:
    u = uniform_on_device(torch.arange(count), CROP_DRAWS, 3)
    left, top, right, bottom = random_boxes(u, torch.tensor(height), torch.tensor(width), low, high).unbind(1)
    return torch.stack([left, top, right - left, bottom - top], 1).double()


def cut_down(count: int, height: int, width: int, low: float, high: float) -> Tensor:
    """Broken twin: one draw, and what sticks out is cut off."""
    u = uniform_on_device(torch.arange(count), 4, 3).double()
    area, ratio = (low + (high - low) * u[:, 0]) * height * width, (4 / 3) ** (2 * u[:, 1] - 1)
    w, h = (area * ratio).sqrt().clamp(max=width), (area / ratio).sqrt().clamp(max=height)
    return torch.stack([u[:, 2] * (width - w), u[:, 3] * (height - h), w, h], 1)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest difference between two distribution functions."""
    at = np.concatenate([one, other])
    return float(np.abs(np.mean(one[:, None] <= at, 0) - np.mean(other[:, None] <= at, 0)).max())


@pytest.mark.parametrize(("height", "width", "low", "high"), [(96, 96, 0.08, 1.0), (60, 90, 0.5, 1.0)])
def test_boxes_are_distributed_as_random_resized_crop(height: int, width: int, low: float, high: float) -> None:
    generator = random.Random(0)
    count = 3000
    wanted = np.array([reference.random_resized_crop(width, height, (low, high), generator) for _ in range(count)])

    def farthest(found: Tensor) -> float:
        def views(boxes: np.ndarray) -> list[np.ndarray]:
            left, top, w, h = boxes.T
            return [w * h, np.round(w / h, 5), left, top, left + w, top + h]

        return max(distance(a, b) for a, b in zip(views(wanted), views(found.numpy()), strict=True))

    limit = 1.95 * (2 / count) ** 0.5  # exceeded by 1 in 1,000 of equal distributions
    assert farthest(boxes_of(count, height, width, low, high)) < limit
    assert farthest(cut_down(count, height, width, low, high)) > limit


def test_boxes_stay_inside_and_keep_their_shape() -> None:
    left, top, w, h = boxes_of(2000, 50, 70, 0.1, 1.0).unbind(1)
    assert min(left.min(), top.min()) >= 0 and (left + w).max() < 70 + 1e-4 and (top + h).max() < 50 + 1e-4
    assert (w * h).min() > 0.1 * 50 * 70 * 0.999
    assert (w / h).min() > 0.7499 and (w / h).max() < 1.3334


@pytest.mark.parametrize(("height", "width", "box"), [(40, 40, (0, 0, 40, 40)), (30, 90, (25, 0, 40, 30))])
def test_a_whole_area_takes_the_middle_as_far_as_the_ratio_allows(height: int, width: int, box: tuple) -> None:
    assert torch.allclose(boxes_of(20, height, width, 1.0, 1.0), torch.tensor(box).double(), atol=1e-4)
