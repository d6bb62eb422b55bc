"""Features from before representation learning: what a pretrained encoder has to beat."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import spmatrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

Features = NDArray[np.float32]

CELLS = 6  # cells per side of the gradient histograms, blocks of 2 x 2 of them
ORIENTATIONS = 9
COLOUR_GRIDS = (1, 3)  # colour histograms of the whole image and of 3 x 3 parts
COLOUR_BINS = 4  # per channel, so 64 colours
CHUNK = 256  # images at once


def image_features(images: ArrayLike) -> Features:
    """Colour histograms and histograms of oriented gradients, (n, 1540) float32.

    images (n, h, w, 3) uint8 of any size from 12 px a side. Both parts have length one per image, so that
    neither drowns the other; histograms enter as square roots, which makes their inner product the
    Bhattacharyya coefficient. Gradients follow Dalal and Triggs (CVPR 2005). Raises ValueError for another
    shape, type or size.
    """
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"image_features: got {pixels.dtype} of shape {pixels.shape}; pass uint8 images (n, h, w, 3).")
    if len(pixels) == 0 or min(pixels.shape[1:3]) < 2 * CELLS:
        raise ValueError(
            f"image_features: shape {pixels.shape} is too small; images need {2 * CELLS} px a side or more."
        )
    parts = [
        np.concatenate([_unit(colour_histograms(chunk)), _unit(oriented_gradients(chunk))], axis=1)
        for chunk in (pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK))
    ]
    return np.concatenate(parts)


def colour_histograms(images: NDArray[np.uint8]) -> Features:
    """Square roots of the share of each colour in each part of the image, (n, parts * COLOUR_BINS**3)."""
    n, height, width, _ = images.shape
    level = images.astype(np.int64) * COLOUR_BINS // 256  # (n, h, w, 3)
    colour = (level[..., 0] * COLOUR_BINS + level[..., 1]) * COLOUR_BINS + level[..., 2]  # (n, h, w)
    found = []
    for grid in COLOUR_GRIDS:
        part = _cell_of(height, grid)[:, None] * grid + _cell_of(width, grid)  # (h, w)
        found.append(np.sqrt(_histogram(part, colour, None, grid * grid, COLOUR_BINS**3)))
    return np.concatenate(found, axis=1).reshape(n, -1)


def oriented_gradients(images: NDArray[np.uint8]) -> Features:
    """Histograms of gradient direction per cell, normalised in 2 x 2 blocks, clipped at 0.2 (HOG), (n, 900).

    The gradient is that of the channel where it is largest; its direction, without sign, is shared between
    the two nearest of ORIENTATIONS bins.
    """
    n, height, width, _ = images.shape
    value = np.sqrt(images.astype(np.float32) / 255)  # (n, h, w, 3), square root against shading
    down, right = np.zeros_like(value), np.zeros_like(value)
    down[:, 1:-1] = value[:, 2:] - value[:, :-2]
    right[:, :, 1:-1] = value[:, :, 2:] - value[:, :, :-2]
    channel = np.argmax(down**2 + right**2, axis=3)[..., None]  # (n, h, w, 1)
    down = np.take_along_axis(down, channel, axis=3)[..., 0]  # (n, h, w)
    right = np.take_along_axis(right, channel, axis=3)[..., 0]

    strength = np.hypot(down, right)
    position = np.mod(np.arctan2(down, right) / np.pi, 1) * ORIENTATIONS
    lower = np.floor(position).astype(np.int64) % ORIENTATIONS
    above = (position - np.floor(position)).astype(np.float32)
    cell = _cell_of(height, CELLS)[:, None] * CELLS + _cell_of(width, CELLS)  # (h, w)
    cells = _histogram(cell, lower, strength * (1 - above), CELLS**2, ORIENTATIONS)
    cells += _histogram(cell, (lower + 1) % ORIENTATIONS, strength * above, CELLS**2, ORIENTATIONS)
    cells = cells.reshape(n, CELLS, CELLS, ORIENTATIONS)

    last = CELLS - 1
    blocks = np.stack([cells[:, i : i + last, j : j + last] for i in (0, 1) for j in (0, 1)], axis=3)
    blocks = blocks.reshape(n, last * last, 4 * ORIENTATIONS)
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-5
    blocks = np.minimum(blocks, 0.2)
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-5
    return blocks.reshape(n, -1)


class TextFeatures:
    """TF-IDF of words, word pairs and 2- to 5-letter pieces, reduced to `width` dimensions by LSA.

    Fitted on training texts only; a text without a known piece is a row of zeros.
    """

    def __init__(self, width: int = 512, seed: int = 0) -> None:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        self._tfidf = FeatureUnion([("words", words), ("pieces", pieces)])
        self._width = width
        self._seed = seed

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn vocabulary, weights and the reduction. Raises ValueError for fewer than 2 texts."""
        if len(texts) < 2:
            raise ValueError(f"TextFeatures: {len(texts)} training texts are too few; pass two or more.")
        sparse: spmatrix = self._tfidf.fit_transform(list(texts))
        width = min(self._width, len(texts) - 1, sparse.shape[1] - 1)
        self._svd = TruncatedSVD(width, n_iter=2, random_state=self._seed).fit(sparse)
        return self

    def __call__(self, texts: Sequence[str]) -> Features:
        """Return one row per text, (n, width) float32."""
        return np.asarray(self._svd.transform(self._tfidf.transform(list(texts))), dtype=np.float32)


def _unit(rows: Features) -> Features:
    unit: Features = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _cell_of(pixels: int, cells: int) -> NDArray[np.int64]:
    """Which of `cells` equal stretches each pixel of a side falls into, (pixels,)."""
    return np.arange(pixels) * cells // pixels


def _histogram(
    part: NDArray[np.int64], value: NDArray[np.int64], weight: Features | None, parts: int, bins: int
) -> Features:
    """Weighted share of each value in each part of each image, (n, parts * bins).

    part (h, w) in [0, parts); value (n, h, w) in [0, bins); weight (n, h, w), 1 when None.
    """
    n = len(value)
    slot = (np.arange(n)[:, None, None] * parts + part) * bins + value  # (n, h, w)
    counts = np.bincount(slot.ravel(), None if weight is None else weight.ravel(), n * parts * bins)
    return (counts / part.size).astype(np.float32).reshape(n, parts * bins)
