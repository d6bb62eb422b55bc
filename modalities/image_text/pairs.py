"""A data set of images with captions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modalities.pictures.rows import ImageSet, Rows


@dataclass(frozen=True, kw_only=True)
class Pairs(ImageSet):
    """Images, each with at least one caption, split."""

    class_words: list[list[str]]
    """For each class the phrases that prompts for zero-shot classification may use."""


def unseen_bases(train: Rows, test: Rows) -> npt.NDArray[np.bool_]:
    """For each test row whether its `base` never occurs in training: (n,), true for unseen concepts."""
    return ~np.isin(test.bases, train.bases)
