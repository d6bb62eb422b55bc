"""News of the Australian Broadcasting Corporation, and how alike people find 50 of them (Lee, Pincombe and Welsh 2005),
as `gensim` carries them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from modalities.packages import package_folder
from modalities.text.rows import Rows, documents

LICENCE = "unknown"
CREDIT = (
    "News of the Australian Broadcasting Corporation, collected and judged by Lee, Pincombe and Welsh 2005, as gensim "
    "carries it; no licence stated."
)


def news() -> Rows:
    """300 stories, one row each; seven stand there twice."""
    return documents(_lines("lee_background.cor"))


def judged() -> tuple[list[str], npt.NDArray[np.float64]]:
    """50 other stories, and the mean similarity people gave each pair of them, (50, 50) in [0, 1]."""
    return _lines("lee.cor"), np.loadtxt(_folder() / "similarities0-1.txt")


def _lines(name: str) -> list[str]:
    return (_folder() / name).read_text("latin-1").splitlines()


def _folder() -> Path:
    return package_folder("gensim", "lee") / "test" / "test_data"
