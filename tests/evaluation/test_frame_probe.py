"""The probe of single frames."""

import numpy as np
import pytest

from evaluation.frame_probe import frame_probe


def frames(signal: float, seed: int = 0, shared: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """600 frames of three phones in 30 recordings; `shared` is what only the frames of one recording have in common."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, 600)
    recordings = np.repeat(np.arange(30), 20)
    x = draw.normal(size=(600, 8))
    x[np.arange(600), labels] += signal
    if shared:
        labels = np.repeat(draw.integers(0, 3, 30), 20)
        x = draw.normal(size=(30, 40))[recordings] * shared + draw.normal(size=(600, 40)) * 0.01
    return x, labels, recordings


def test_finds_what_is_there_and_nothing_else() -> None:
    (x, y, of), (x_test, y_test, _) = frames(6.0), frames(6.0, 1)
    found = frame_probe(x, y, of, x_test, y_test)
    assert found["accuracy"] > 0.95 and found["validation"] > 0.95
    (x, y, of), (x_test, y_test, _) = frames(0.0), frames(0.0, 1)
    assert abs(frame_probe(x, y, of, x_test, y_test)["accuracy"] - 1 / 3) < 0.1
    scaled = frame_probe(x * [1e-3] + 50, y, of, x_test * [1e-3] + 50, y_test)
    assert abs(scaled["accuracy"] - frame_probe(x, y, of, x_test, y_test)["accuracy"]) < 0.03


def test_validation_is_of_whole_recordings() -> None:
    x, y, of = frames(0.0, shared=1.0)
    assert frame_probe(x, y, of, x, y)["validation"] < 0.75
    alone = np.arange(len(x))  # the broken twin: frames of one recording on both sides
    assert frame_probe(x, y, alone, x, y)["validation"] > 0.75


def test_a_few_recordings_are_enough_to_choose_by() -> None:
    x, y, of = frames(6.0)
    assert [frame_probe(x, y, of % count, x, y)["validation"] > 0.9 for count in (1, 2, 4)] == [False, True, True]
    assert frame_probe(x, of % 2, of % 2, x, of % 2)["validation"] == 0  # without either the other is all there is


def test_rounding_is_no_signal() -> None:
    """A feature that is constant but for rounding, which tells a class apart on one side and another on the other."""
    (x, y, of), (x_test, y_test, _) = frames(6.0), frames(6.0, 1)
    drift = [np.where(labels == phone, 1000.0 + 6e-5, 1000.0)[:, None] for labels, phone in ((y, 0), (y_test, 1))]
    plain = frame_probe(x, y, of, x_test, y_test)
    assert frame_probe(np.hstack([x, drift[0]]), y, of, np.hstack([x_test, drift[1]]), y_test) == plain
    drift = [1000 + (each - 1000) * 1000 for each in drift]  # the broken twin: a deviation that counts
    found = frame_probe(np.hstack([x, drift[0]]), y, of, np.hstack([x_test, drift[1]]), y_test)
    assert found["accuracy"] < plain["accuracy"] - 0.02


def test_what_cannot_be_probed() -> None:
    x, y, of = frames(1.0)
    with pytest.raises(ValueError, match="NaN or infinity"):
        frame_probe(np.where(x > 2, np.nan, x), y, of, x, y)
    with pytest.raises(ValueError, match="fewer than two classes"):
        frame_probe(x, np.zeros(len(x)), of, x, y)
    with pytest.raises(ValueError, match="labels: expected 600"):
        frame_probe(x, y[:5], of, x, y)
    with pytest.raises(ValueError, match="one frame per row"):
        frame_probe(x[0], y, of, x, y)
    assert frame_probe(x, y, np.zeros(len(x)), x, y)["validation"] == 0
