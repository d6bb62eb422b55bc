"""Views one image and one value at a time: Pillow where it has the operation, loops over the formula where not."""

import math
import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Pixels = npt.NDArray[np.float64]  # (3, h, w) in [0, 1]

LUMA = np.array([0.299, 0.587, 0.114])
# RGB to YIQ as the NTSC standard rounds it.
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def resized(image: npt.NDArray[np.uint8], box: tuple[float, ...], side: int, bicubic: bool) -> Pixels:
    """Pillow's `resize(box=...)` of (3, h, w) in floating point, so that nothing is rounded to bytes or cut off."""
    how = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    channels = [Image.fromarray(channel.astype(np.float32)).resize((side, side), how, box=box) for channel in image]
    return np.stack([np.asarray(channel, dtype=np.float64) for channel in channels]) / 255


def as_picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.round(pixels * 255).astype(np.uint8).transpose(1, 2, 0))


def as_pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture, dtype=np.float64).transpose(2, 0, 1) / 255


def random_resized_crop(width: int, height: int, area: tuple[float, float], generator: random.Random) -> list[float]:
    """RandomResizedCrop as the torchvision documentation describes it, without rounding: left, top, width, height."""
    for _ in range(10):
        pixels = width * height * generator.uniform(*area)
        ratio = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
        if w <= width and h <= height:
            return [generator.uniform(0, width - w), generator.uniform(0, height - h), w, h]
    ratio = min(max(width / height, 3 / 4), 4 / 3)
    w, h = min(width, height * ratio), min(height, width / ratio)
    return [(width - w) / 2, (height - h) / 2, w, h]


def recoloured(pixels: Pixels, brightness: float, contrast: float, saturation: float, turn: float) -> Pixels:
    """Four operations one after another, cut to [0, 1] once at the end. `turn` in radians."""
    pixels = pixels * brightness
    mean = np.tensordot(LUMA, pixels, 1).mean()
    pixels = mean + contrast * (pixels - mean)
    grey = np.tensordot(LUMA, pixels, 1)
    pixels = grey + saturation * (pixels - grey)
    y, i, q = np.tensordot(YIQ, pixels, 1)
    turned = np.stack([y, math.cos(turn) * i - math.sin(turn) * q, math.sin(turn) * i + math.cos(turn) * q])
    return np.clip(np.tensordot(np.linalg.inv(YIQ), turned, 1), 0, 1)


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    """A Gaussian window of a tenth of the side around every place, the part inside the image weighted to 1."""
    side = pixels.shape[1]
    reach = max(int(0.1 * side) // 2, 1)
    out = np.zeros_like(pixels)
    for y in range(side):
        for x in range(side):
            total = 0.0
            for j in range(max(y - reach, 0), min(y + reach, side - 1) + 1):
                for i in range(max(x - reach, 0), min(x + reach, side - 1) + 1):
                    weight = math.exp(-((j - y) ** 2 + (i - x) ** 2) / (2 * sigma**2))
                    out[:, y, x] += weight * pixels[:, j, i]
                    total += weight
            out[:, y, x] /= total
    return out


def smoothed(pixels: Pixels) -> Pixels:
    return as_pixels(as_picture(pixels).filter(ImageFilter.SMOOTH))


def moved(pixels: Pixels, matrix: npt.NDArray[np.float64]) -> Pixels:
    """Every place read, bilinearly, where `matrix` (3, 3) sends it; the image spans -1 to 1, grey lies outside."""
    side = pixels.shape[1]
    framed = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), constant_values=0.5)
    out = np.full_like(pixels, 0.5)
    for row in range(side):
        for column in range(side):
            place = matrix @ [(2 * column + 1) / side - 1, (2 * row + 1) / side - 1, 1]
            x, y = ((place[:2] + 1) * side - 1) / 2 + 1  # in pixels of the framed image
            if not (0 <= x < side + 1 and 0 <= y < side + 1):
                continue
            i, j, fx, fy = int(x), int(y), x % 1, y % 1
            upper = (1 - fx) * framed[:, j, i] + fx * framed[:, j, i + 1]
            lower = (1 - fx) * framed[:, j + 1, i] + fx * framed[:, j + 1, i + 1]
            out[:, row, column] = (1 - fy) * upper + fy * lower
    return out
