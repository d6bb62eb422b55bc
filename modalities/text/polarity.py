"""200 sentences of film reviews and whether they praise (Pang and Lee 2005), as `gensim` carries them."""

from modalities.packages import package_folder
from modalities.text.rows import Rows, documents

LICENCE = "unknown"
CREDIT = (
    "Sentence polarity data of Pang and Lee 2005 (https://www.cs.cornell.edu/people/pabo/movie-review-data), a "
    "sample that gensim carries; no licence stated."
)
CLASSES = ("negative", "positive")
_MARKS = {"__label__neg": 0, "__label__pos": 1}


def sentences() -> Rows:
    """One row per sentence; the label is a place in `CLASSES`."""
    file = package_folder("gensim", "polarity") / "test" / "test_data" / "pang_lee_polarity.cor"
    marked = [line.split(maxsplit=1) for line in file.read_text("cp1252").splitlines()]
    return documents([text for _, text in marked], [_MARKS[mark] for mark, _ in marked])
