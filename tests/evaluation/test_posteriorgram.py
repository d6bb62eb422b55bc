"""The picture of what a CTC model hears when."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from evaluation.posteriorgram import posteriorgram

NAMES = ["(nothing)", "a", "b", "$"]


def shares() -> np.ndarray:
    found = np.full((6, 4), 0.01)
    found[:, 0], found[2, 1], found[4, 3] = 0.9, 0.8, 0.5
    return found


def test_characters_that_are_never_likely_get_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    honest = Axes.set_yticks

    def watched(self: Axes, ticks: object, labels: list[str] | None = None, **more: object) -> object:
        drawn.append(labels or [])
        return honest(self, ticks, labels, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "set_yticks", watched)
    power = np.random.default_rng(0).normal(size=(30, 16))
    posteriorgram(power, shares(), NAMES, 0.3, tmp_path / "a.png", said="a $", heard="a", credit="nobody")
    assert drawn[-1] == ["(nothing)", "a", "$"]
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 200


def test_names_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 names for 4 characters"):
        posteriorgram(np.ones((3, 2)), shares(), NAMES[1:], 0.3, tmp_path / "a.png")
