"""Tests of word vectors that `gensim` carries: pairs that people judged, analogies, and a small dictionary."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from modalities.packages import package_folder

_SIMILARITY = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}


def judged_pairs(name: Literal["wordsim353", "simlex999"]) -> list[tuple[str, str, float]]:
    """Word, word, and how alike (SimLex-999, Hill et al. 2015, arXiv 1408.3456) or related (WordSim-353, Finkelstein et
    al. 2002) people find them, from 0 to 10."""
    lines = _file(_SIMILARITY[name]).read_text("utf-8").splitlines()
    fields = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    return [(first, second, float(score)) for first, second, score in fields]


def analogies() -> dict[str, list[tuple[str, str, str, str]]]:
    """Questions a : b = c : d by section, 19,544 in all (Mikolov et al. 2013, arXiv 1301.3781). Names of sections of
    grammar start with "gram"."""
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    for line in _file("questions-words.txt").read_text("utf-8").splitlines():
        if line.startswith(":"):
            section = sections.setdefault(line[1:].strip(), [])
        elif line.strip():
            a, b, c, d = line.split()
            section.append((a, b, c, d))
    return sections


def dictionary() -> list[tuple[str, str]]:
    """20 words in English and Italian: numbers, animals and fruit."""
    pairs = [line.split() for line in _file("OPUS_en_it_europarl_train_one2ten.txt").read_text("utf-8").splitlines()]
    return [(english, italian) for english, italian in pairs]


def bilingual_vectors() -> dict[str, tuple[list[str], npt.NDArray[np.float64]]]:
    """The words of `dictionary` and their CBOW vectors (20, 300) by Dinu et al. 2015 (arXiv 1412.6568): "en", "it"."""
    found = {}
    for language in ("en", "it"):
        lines = _file(f"{language.upper()}.1-10.cbow1_wind5_hs0_neg10_size300_smpl1e-05.txt").read_text("utf-8")
        rows = [line.split() for line in lines.splitlines()[1:]]
        found[language] = [word for word, *_ in rows], np.array([numbers for _, *numbers in rows], dtype=np.float64)
    return found


def _file(name: str) -> Path:
    file = package_folder("gensim", "word tests") / "test" / "test_data" / name
    if not file.is_file():
        raise ValueError(f"The word tests need {name}, which this gensim lacks: upgrade it.")
    return file
