"""The text and binary formats of the word2vec tool, which gensim, spaCy and others read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt


def write_text(path: Path, words: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
    """A line "count width", then "word number number ..." per word in UTF-8, with digits enough to read the same
    fp32 numbers back."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_head(words, vectors))
        for word, vector in zip(words, vectors, strict=True):
            file.write(" ".join([_name(word), *(f"{number:.9g}" for number in vector.tolist())]) + "\n")


def write_binary(path: Path, words: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
    """The same line, then per word its name, a space, fp32 numbers in little-endian order, and a line end."""
    with path.open("wb") as file:
        file.write(_head(words, vectors).encode())
        for word, vector in zip(words, vectors.astype("<f4"), strict=True):
            file.write(f"{_name(word)} ".encode() + vector.tobytes() + b"\n")


def _head(words: Sequence[str], vectors: npt.NDArray[np.float32]) -> str:
    assert len(words) == len(vectors), f"{len(words)} words for {len(vectors)} vectors"
    return f"{len(words)} {vectors.shape[1]}\n"


def _name(word: str) -> str:
    """White space ends a name in these formats."""
    return "_".join(word.split())
