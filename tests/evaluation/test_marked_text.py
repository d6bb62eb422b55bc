"""The sheet of marked texts: lines break, frames stand where something was replaced."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from evaluation.marked_text import _LETTERS, Marked, _lines, marked_sheet


def channels(text: Marked, place: Path) -> list[NDArray[np.int64]]:
    marked_sheet([text], place)
    with Image.open(place) as picture:
        return list(np.moveaxis(np.asarray(picture.convert("RGB"), dtype=np.int64), 2, 0))


def test_shades_and_frames_are_seen(tmp_path: Path) -> None:
    plain = Marked(["one", "two"], [0.0, 0.0], ["", ""])
    sure = Marked(["one", "two"], [0.0, 1.0], ["", ""])
    framed = Marked(["one", "two"], [0.0, 0.0], ["", "$x^2$"])  # no formula
    pictures = [channels(text, tmp_path / f"{number}.png") for number, text in enumerate((plain, sure, framed))]
    red = [int(((r > 230) & (b < 140)).sum()) for r, _, b in pictures]
    green = [int(((g > 120) & (r < 90) & (b < 110)).sum()) for r, g, b in pictures]
    assert red[0] == 0 and red[1] > 100 and red[2] == 0
    assert green[0] == green[1] == 0 and green[2] > 50


def test_long_texts_go_on_below() -> None:
    text = Marked(["token"] * 60, [0.0] * 60, [""] * 60)
    places = _lines(text)
    assert places[0] == (0.0, 0) and places[-1][1] >= 60 * 6 // _LETTERS - 1
    assert all(column + 5 < _LETTERS for column, _ in places)
    assert len(set(places)) == 60


def test_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="text 0 has 1 tokens, 2 shades"):
        marked_sheet([Marked(["a"], [0.0, 1.0], [""])], tmp_path / "x.png")
    with pytest.raises(ValueError, match="no token to draw"):
        marked_sheet([], tmp_path / "x.png")
