"""Whitening of sentence vectors: Su et al. 2021, arXiv 2103.15316."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Whitening:
    """The map x -> (x - mean) W, after which training vectors have mean 0 and covariance 1."""

    mean: npt.NDArray[np.float64]
    """(d,)."""
    weight: npt.NDArray[np.float64]
    """W, (d, k)."""

    def __call__(self, vectors: Floats) -> Floats:
        """(n, d) -> (n, k)."""
        return ((vectors - self.mean) @ self.weight).astype(np.float32)


def fit_whitening(vectors: Floats, dimensions: int = 0) -> Whitening:
    """From training vectors (n, d); `dimensions` keeps the k directions of most variance, 0 all that there are.

    Directions in which the vectors do not vary are left out: to divide by their variance would blow up rounding noise.

    Raises:
        ValueError: if the vectors do not vary, or more dimensions are wanted than they vary in.
    """
    mean = vectors.astype(np.float64).mean(0)
    values, vectors_of = np.linalg.eigh(np.cov(vectors.astype(np.float64), rowvar=False, bias=True))  # ascending
    values, vectors_of = values[::-1], vectors_of[:, ::-1]
    if values[0] <= (np.finfo(np.float32).eps * abs(mean).max()) ** 2:
        raise ValueError(
            f"The {len(vectors)} training vectors are all the same, so there is nothing to whiten; look at what the "
            "encoder learnt."
        )
    found = int((values > values[0] * len(values) * np.finfo(np.float32).eps).sum())
    if dimensions > found:
        raise ValueError(
            f"eval.dimensions {dimensions}: the {len(vectors)} training vectors vary in {found} directions; lower it."
        )
    kept = dimensions or found
    return Whitening(mean, vectors_of[:, :kept] / np.sqrt(values[:kept]))


def as_layer(whitening: Whitening) -> nn.Linear:
    """The same map on tensors, (n, d) -> (n, k)."""
    d, k = whitening.weight.shape
    layer = nn.Linear(d, k)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(whitening.weight.T.copy()))
        layer.bias.copy_(torch.from_numpy(-whitening.mean @ whitening.weight))
    return layer.requires_grad_(False)


def add_whitening(folder: Path, whitening: Whitening) -> None:
    """Append the map to the `SentenceTransformer` in `folder`, as a linear layer that stock classes load."""
    # Two seconds that nobody who trains should wait for.
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    layer = as_layer(whitening)
    dense = Dense(
        layer.in_features,
        layer.out_features,
        activation_function=None,
        init_weight=layer.weight,
        init_bias=layer.bias,
    )
    model = SentenceTransformer(str(folder), device="cpu")
    SentenceTransformer(modules=[*model, dense], device="cpu").save(str(folder), create_model_card=False)
