"""Shifted pictures: what each kind does, and that it does more of it at higher levels."""

import numpy as np
import pytest

from evaluation.shifts import LEVELS, SHIFTS, shift


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Six smooth pictures with an edge, no two alike."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :40]
    waves = [np.sin(x[..., None] / rng.uniform(3, 9, 3) + y[..., None] / rng.uniform(3, 9, 3)) for _ in range(6)]
    found = (127 + 100 * np.stack(waves)).astype(np.uint8)
    found[:, 10:20, 5:15] = 250
    return found


@pytest.mark.parametrize("kind", SHIFTS)
def test_levels_rise_and_draws_repeat(kind: str, images: np.ndarray) -> None:
    before = images.copy()
    found = [shift(images, kind, level) for level in LEVELS]
    assert all(each.shape == images.shape and each.dtype == np.uint8 for each in found)
    distances = [np.abs(each.astype(float) - images).mean() for each in found]
    assert 0 < distances[0] < distances[1] < distances[2]
    assert np.array_equal(images, before) and np.array_equal(shift(images, kind, 3), found[2])


def test_what_each_kind_does(images: np.ndarray) -> None:
    assert np.ptp(shift(images, "grey", 3), axis=3).max() <= 1  # no colour left
    assert np.ptp(shift(images, "grey", 2), axis=3).max() > 1
    noise = shift(np.full((20, 32, 32, 3), 128, np.uint8), "noise", 2).astype(float) - 128
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.02) and abs(noise.mean()) < 0.5
    assert np.array_equal(shift(np.full((2, 32, 32, 3), 90, np.uint8), "blur", 3), np.full((2, 32, 32, 3), 90))
    low = shift(images, "contrast", 3).astype(float)
    spread = (low.std((1, 2, 3)) / images.std((1, 2, 3))).mean()
    assert spread == pytest.approx(0.15, rel=0.05)
    assert np.allclose(low.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.5)
    hidden = shift(np.zeros((8, 40, 40, 3), np.uint8), "occlusion", 1)
    assert (hidden.astype(bool).sum((1, 2)) == 100).all()  # a quarter of the side
    assert len({tuple(np.argwhere(each[..., 0])[0]) for each in hidden}) > 4
    point = np.zeros((30, 41, 41, 3), np.uint8)
    point[:, 20, 30] = 255
    turned = shift(point, "rotation", 3)
    rows = [np.argwhere(each[..., 0] > 40).mean(0)[0] for each in turned]
    assert {round(row) for row in rows} == {20 - 7, 20 + 7}  # 10 pixels from the middle, 45 degrees up or down


def test_seeds_differ(images: np.ndarray) -> None:
    assert not np.array_equal(shift(images, "noise", 1), shift(images, "noise", 1, seed=1))
    noise = [shift(images, "noise", 1)[row].astype(int) - images[row] for row in range(2)]
    assert not np.array_equal(*noise)


def test_wrong_input_is_named(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no 'fog' of level 1; choose from noise"):
        shift(images, "fog", 1)
    with pytest.raises(ValueError, match="no 'blur' of level 4"):
        shift(images, "blur", 4)
    with pytest.raises(ValueError, match=r"float64 of shape .* pass uint8 images"):
        shift(images / 255, "blur", 1)
