"""Attention maps and segments: that the pictures are there, whole and small, and that nothing wrong is drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.place_sheets import class_attention_sheet, segment_sheet

RNG = np.random.default_rng(0)
IMAGES = list(RNG.integers(0, 256, size=(3, 64, 48, 3), dtype=np.uint8))
MAPS = {"before": RNG.random((3, 2, 8, 8)), "after": RNG.random((3, 2, 16, 16))}
SEGMENTS = {"before": RNG.integers(0, 20, size=(3, 8, 8)), "after": RNG.integers(0, 3, size=(3, 16, 16))}


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG" and path.stat().st_size < 400_000
        return np.asarray(picture.convert("RGB"))


def test_a_column_for_every_head_and_a_row_for_every_image(tmp_path: Path) -> None:
    path = tmp_path / "new" / "attention.png"
    class_attention_sheet(IMAGES, MAPS, path, title="looks", credit="$5")
    wide = pixels_of(path)
    assert wide.shape == (395, 595, 3)  # three rows, image and four maps
    class_attention_sheet(IMAGES, {"before": MAPS["before"]}, path)
    assert pixels_of(path).shape[1] < wide.shape[1]
    # Maps are scaled by their own values: twice the attention draws the same picture, another map does not.
    one = pixels_of(path)
    class_attention_sheet(IMAGES, {"before": 2 * MAPS["before"]}, path)
    assert np.array_equal(pixels_of(path), one)
    class_attention_sheet(IMAGES, {"before": MAPS["before"][:, ::-1]}, path)
    assert not np.array_equal(pixels_of(path), one)


def test_segments_are_one_colour_in_all_images(tmp_path: Path) -> None:
    path = tmp_path / "segments.png"
    segment_sheet(IMAGES, SEGMENTS, path)
    assert pixels_of(path).shape == (395, 365, 3)
    black = [np.zeros((64, 64, 3), np.uint8)] * 2
    segment_sheet(black, {"one": np.stack([np.zeros((4, 4), int), np.ones((4, 4), int)])}, path)
    different = pixels_of(path)
    segment_sheet(black, {"one": np.zeros((2, 4, 4), int)}, path)
    colours = [{tuple(pixel) for pixel in found.reshape(-1, 3).tolist()} for found in (different, pixels_of(path))]
    assert len(colours[0]) > len(colours[1])


@pytest.mark.parametrize("wrong", [MAPS["before"][:2], MAPS["before"][:, 0], -MAPS["before"]])
def test_attention_of_another_shape_is_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"'mine' for 3 images; pass \(images, heads, y, x\), nothing negative\.$"):
        class_attention_sheet(IMAGES, {"mine": wrong}, tmp_path / "x.png")


@pytest.mark.parametrize("wrong", [SEGMENTS["before"][:2], SEGMENTS["before"][0], SEGMENTS["before"] + 1])
def test_segments_without_a_colour_are_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    wrong = np.where(wrong == 19, 20, wrong) if wrong.shape == (3, 8, 8) else wrong
    with pytest.raises(ValueError, match=r"'mine' for 3 images; pass \(images, y, x\) of numbers from 0 to 19\.$"):
        segment_sheet(IMAGES, {"mine": wrong}, tmp_path / "x.png")
