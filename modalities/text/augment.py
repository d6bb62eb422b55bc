"""Views of a text by its words: EDA (Wei and Zou 2019, arXiv 1901.11196)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from modalities.draws import mix, uniform
from modalities.text.collate import TextsCollate
from modalities.text.rows import Row

Draws = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EDAConfig:
    """Options of EDA."""

    share: float = 0.0
    """Of a text's words that one operation changes, at least one; the paper has 0.1. 0 leaves texts as they are."""
    synonyms: str = ""
    """File with a word and its synonyms on each line, between commas. Without one no word is replaced, and the word
    that an insertion repeats is one of the text's own."""

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"eda.share is {self.share}; it must be at least 0 and below 1.")


class EDACollate:
    """Tokenizes texts after EDA in training: a row of one text becomes two views of it, of each of several texts there
    is one view. Without seeds texts stay as they are."""

    def __init__(self, collate: TextsCollate, cfg: EDAConfig) -> None:
        self.collate, self.cfg = collate, cfg
        self.synonyms = read_synonyms(Path(cfg.synonyms)) if cfg.synonyms else {}

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """See `TextsCollate`."""
        if seeds is None or not self.cfg.share:
            return self.collate(rows, seeds)
        changed: list[Row] = []
        for row, seed in zip(rows, seeds, strict=True):
            texts = row["texts"] * 2 if len(row["texts"]) == 1 else row["texts"]
            own = mix(np.arange(1, len(texts) + 1, dtype=np.uint64) + seed)  # one seed for each view
            views = [eda(text, own[place], self.cfg.share, self.synonyms) for place, text in enumerate(texts)]
            changed.append({**row, "texts": views})  # type: ignore[typeddict-item]
        return self.collate(changed, seeds)


def eda(text: str, seed: np.uint64, share: float = 0.1, synonyms: dict[str, list[str]] | None = None) -> str:
    """One of four operations, drawn by `seed`, on a share of the words: replacement by a synonym, insertion of a
    synonym of some word at some place, swap of two words, deletion. A text keeps at least one word."""
    words, known = text.split(), synonyms or {}
    if not words:
        return text
    drawn = uniform(np.array([seed], dtype=np.uint64), 1 + 3 * len(words))[0]
    operations = [_insert, _swap, _delete] + [_replace] * bool(known)
    chosen = operations[int(drawn[0] * len(operations))]
    return " ".join(chosen(words, share, drawn[1:], known))


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """{word: its synonyms}, all in lower case.

    Raises:
        ValueError: if the file cannot be read as text, or a line has no synonym.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"eda.synonyms {str(path)!r} cannot be read: {error}.") from error
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        words = [word.strip().lower() for word in line.split(",") if word.strip()]
        if len(words) == 1:
            raise ValueError(f"eda.synonyms {str(path)!r}, line {number}: {words[0]!r} has no synonym beside it.")
        if words:
            found.setdefault(words[0], []).extend(words[1:])
    return found


def _count(words: list[str], share: float) -> int:
    return max(1, int(share * len(words)))


def _replace(words: list[str], share: float, drawn: Draws, known: dict[str, list[str]]) -> list[str]:
    words = list(words)
    places = [place for place, word in enumerate(words) if word.lower() in known]
    for which, option in drawn[: 2 * min(_count(words, share), len(places))].reshape(-1, 2):
        place = places.pop(int(which * len(places)))
        options = known[words[place].lower()]
        words[place] = options[int(option * len(options))]
    return words


def _insert(words: list[str], share: float, drawn: Draws, known: dict[str, list[str]]) -> list[str]:
    sources = [word for word in words if word.lower() in known] or words
    words = list(words)
    for which, option, place in drawn[: 3 * _count(words, share)].reshape(-1, 3):
        word = sources[int(which * len(sources))]
        options = known.get(word.lower(), [word])
        words.insert(int(place * (len(words) + 1)), options[int(option * len(options))])
    return words


def _swap(words: list[str], share: float, drawn: Draws, known: dict[str, list[str]]) -> list[str]:
    words = list(words)
    for one, other in drawn[: 2 * _count(words, share)].reshape(-1, 2):
        i, j = int(one * len(words)), int(other * len(words))
        words[i], words[j] = words[j], words[i]
    return words


def _delete(words: list[str], share: float, drawn: Draws, known: dict[str, list[str]]) -> list[str]:
    kept = [word for word, draw in zip(words, drawn, strict=False) if draw >= share]
    return kept or [words[int(drawn[0] / share * len(words))]]
