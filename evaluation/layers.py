"""Which layer of an encoder to read: chosen on training rows, judged on test rows."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import column
from evaluation.probe import linear_probe, validation_rows

STRENGTHS = (1e-2, 1.0, 10.0)  # enough to tell layers apart; the chosen one is swept in full


def best_layer(
    layers: Mapping[str, ArrayLike], labels: ArrayLike, seed: int = 0, strengths: Sequence[float] = STRENGTHS
) -> str:
    """Name of the layer whose linear probe is the most accurate on a fifth of the training rows, fitted on the rest.

    layers: {name: (n, d)} of training rows, labels (n,). Of equals the last one, which needs no choice. Test rows have
    no say: the best of several numbers on them would be too good by chance. Raises ValueError without layers.
    """
    if not layers:
        raise ValueError("best_layer: no layers were given; pass one at least.")
    arrays = {name: np.asarray(features) for name, features in layers.items()}
    wanted = column(labels, len(next(iter(arrays.values()))), "labels")
    _, codes = np.unique(wanted, return_inverse=True)
    held = validation_rows(codes, seed)
    names = list(arrays)
    if not held.any() or len(names) == 1:
        return names[-1]
    scores = [
        linear_probe(rows[~held], wanted[~held], rows[held], wanted[held], seed, strengths)["accuracy"]
        for rows in arrays.values()
    ]
    return names[len(names) - 1 - int(np.argmax(scores[::-1]))]
