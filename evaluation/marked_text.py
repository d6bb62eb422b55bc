"""A sheet of texts whose tokens are shaded by a number and, where one is marked, show what stood there before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from evaluation.figures import GREEN, INK, figure, finish

_SIZE = 9  # points
_LETTER = 0.602 * _SIZE / 72  # inches, of a letter of DejaVu Sans Mono
_LINE = 0.36  # inches, with room above for what stood there
_LETTERS = 100  # of a line
_SHADES = LinearSegmentedColormap.from_list("verdict", ["#ffffff", "#f28e6b"])


@dataclass(frozen=True)
class Marked:
    """A text in pieces."""

    tokens: Sequence[str]
    shades: Sequence[float]
    """0 white to 1 red, one for each token."""
    before: Sequence[str]
    """What stood in the place of a token; empty where nothing else did."""


def marked_sheet(texts: Sequence[Marked], path: str | Path, title: str = "", credit: str = "") -> None:
    """Draw each text in lines of monospaced tokens. A token with something before it has a frame and that above it.

    Raises ValueError when there is nothing to draw or the parts of a text have different lengths.
    """
    for number, text in enumerate(texts):
        if not len(text.tokens) == len(text.shades) == len(text.before):
            raise ValueError(
                f"marked_sheet: text {number} has {len(text.tokens)} tokens, {len(text.shades)} shades and "
                f"{len(text.before)} earlier tokens; give one of each."
            )
    if not any(text.tokens for text in texts):
        raise ValueError("marked_sheet: there is no token to draw; pass a text with one at least.")
    places = [_lines(text) for text in texts]
    height = sum(lines[-1][1] + 1 for lines in places if lines) + 0.4 * len(texts)
    drawing = figure(0.2 + _LETTER * _LETTERS, 0.5 + _LINE * height)
    axes = drawing.add_subplot()
    axes.set(xlim=(0, _LETTERS), ylim=(height, 0))
    axes.set_axis_off()
    top = 0.4
    letters: dict[str, Any] = {
        "fontfamily": "monospace",
        "color": INK,
        "ha": "center",
        "va": "center",
        "parse_math": False,
    }
    for text, lines in zip(texts, places, strict=True):
        for (column, line), token, shade, before in zip(lines, text.tokens, text.shades, text.before, strict=True):
            width, y = _width(token, before), top + line
            frame: dict[str, Any] = {"edgecolor": GREEN, "linewidth": 1.6} if before else {"linewidth": 0}
            axes.add_patch(Rectangle((column, y), width, 0.5, facecolor=_SHADES(shade), **frame))
            middle = column + width / 2
            axes.text(middle, y + 0.25, token, fontsize=_SIZE, **letters)
            if before:
                axes.text(middle, y - 0.2, before, fontsize=_SIZE - 2, **(letters | {"color": GREEN}))
        if lines:
            top += lines[-1][1] + 1.4
    finish(drawing, path, title, credit)


def _width(token: str, before: str) -> float:
    return max(len(token), 0.8 * len(before)) + 0.6


def _lines(text: Marked) -> list[tuple[float, int]]:
    """Column and line of each token."""
    found, column, line = [], 0.0, 0
    for token, before in zip(text.tokens, text.before, strict=True):
        width = _width(token, before)
        if column and column + width > _LETTERS:
            column, line = 0.0, line + 1
        found.append((column, line))
        column += width + 0.4
    return found
