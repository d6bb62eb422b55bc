"""The classic way to search images with text: two fixed feature spaces joined by linear maps."""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import Codes, Floats, column, matrix
from evaluation.retrieval import retrieve_both

PENALTIES = (1e-4, 1e-3, 1e-2)  # ridge added to a covariance, as a share of its trace
VALIDATION = 0.2


@dataclass
class _Side:
    """Mean (d,), and eigenvalues (d,) and eigenvectors (d, d) of the covariance, of one modality."""

    mean: Floats
    values: Floats
    vectors: Floats

    @classmethod
    def of(cls, rows: Floats) -> Self:
        mean = rows.mean(axis=0)
        values, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        return cls(mean, np.maximum(values, 0), vectors)

    def whiten(self, penalty: float) -> Floats:
        """Directions scaled to variance one, those the penalty outweighs to less, (d, d)."""
        whitened: Floats = self.vectors / np.sqrt(self.values + penalty * max(self.values.sum(), 1e-12))
        return whitened


class JoinedSpaces:
    """Canonical correlation analysis of images and texts, regularised (Gong et al., arXiv 1212.4522).

    Directions are weighted with their correlation, as Gong et al. do with a power of it. On emoji drawings
    and their names this beat ridge regression in either direction. `penalties` holds the chosen pair
    (image, text) after `fit`.
    """

    penalties: tuple[float, float]

    def fit(self, image: ArrayLike, text: ArrayLike, ids: ArrayLike | None = None, seed: int = 0) -> Self:
        """Fit on training pairs: row i of image (n, k) and of text (n, l) belong together.

        ids (n,) marks rows of one image (several captions); default: all differ. The penalties are those of
        PENALTIES with the best mean recall on a fifth of the ids, then everything is fitted again on all
        rows. Raises ValueError for NaN or infinity, lengths that differ or fewer than 10 ids.
        """
        images, texts = matrix(image, "image features"), matrix(text, "text features")
        if len(images) != len(texts):
            raise ValueError(f"JoinedSpaces: {len(images)} images, {len(texts)} texts; pass them in pairs.")
        names = np.arange(len(images)) if ids is None else column(ids, len(images), "ids")
        unique, codes = np.unique(names, return_inverse=True)
        if len(unique) < 10:
            raise ValueError(f"JoinedSpaces: {len(unique)} images are too few; pass 10 or more.")
        held_out = np.random.default_rng(seed).permutation(len(unique))[: round(VALIDATION * len(unique))]
        held = np.isin(codes, held_out)

        self._learn(images[~held], texts[~held])
        scores = {}
        for penalties in product(PENALTIES, PENALTIES):
            self._project(penalties)
            scores[penalties] = self._mean_recall(images[held], texts[held], codes[held])
        self.penalties = max(scores, key=lambda pair: scores[pair])
        self._learn(images, texts)
        self._project(self.penalties)
        return self

    def image(self, features: ArrayLike) -> Floats:
        """Image features (n, k) in the joint space, (n, min(k, l)); compare by cosine."""
        joint: Floats = (matrix(features, "image features") - self._image.mean) @ self._from_image
        return joint

    def text(self, features: ArrayLike) -> Floats:
        """Text features (n, l) in the joint space, (n, min(k, l)); compare by cosine."""
        joint: Floats = (matrix(features, "text features") - self._text.mean) @ self._from_text
        return joint

    def _learn(self, image: Floats, text: Floats) -> None:
        self._image, self._text = _Side.of(image), _Side.of(text)
        self._cross = (image - self._image.mean).T @ (text - self._text.mean) / len(image)  # (k, l)

    def _project(self, penalties: tuple[float, float]) -> None:
        left, right = self._image.whiten(penalties[0]), self._text.whiten(penalties[1])
        u, correlation, v = np.linalg.svd(left.T @ self._cross @ right, full_matrices=False)
        self._from_image = left @ u * correlation
        self._from_text = right @ v.T * correlation

    def _mean_recall(self, image: Floats, text: Floats, ids: Codes) -> float:
        _, first = np.unique(ids, return_index=True)
        recalls = retrieve_both(self.image(image[first]), self.text(text), ids[first], ids)
        return float(np.mean(list(recalls.values())))
