"""Linear probe of single frames: what one frame of an encoder says of the phone or the speaker, as in CPC (van den Oord
2018, arXiv 1807.03748, section 3.1)."""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from evaluation.accuracy import accuracies
from evaluation.arrays import column

STRENGTH = 0.1  # C of scikit-learn: frames are many, so that a weak or a strong penalty hardly matters
ROUNDS = 200


def frame_probe(
    train: ArrayLike,
    labels: ArrayLike,
    recordings: ArrayLike,
    test: ArrayLike,
    wanted: ArrayLike,
    seed: int = 0,
) -> dict[str, float]:
    """Return {"accuracy", "balanced_accuracy", "validation"} of logistic regression on standardised frames.

    train (n, d), labels (n,), recordings (n,): which recording each frame is of; test (m, d), wanted (m,). A fifth of
    the training recordings, at least one, drawn with `seed`, is left out of the fit and gives "validation", by which
    layers are chosen: neighbouring frames are nearly equal, so that a fifth of the frames would say nothing. Fitted in
    float32, for there are many frames. With one recording, or where the others hold a single class, nothing is left
    out, and "validation" is 0. A feature that varies by less than a millionth of its mean is left as good as constant.
    Raises ValueError for frames that are not finite, lengths that disagree, or a single class.
    """
    x, x_test = _frames(train, "train"), _frames(test, "test")
    y, y_test = column(labels, len(x), "labels"), column(wanted, len(x_test), "wanted")
    if len(np.unique(y)) < 2:
        raise ValueError("frame_probe: the training frames hold fewer than two classes; a probe needs two or more.")
    left_out = _fifth(column(recordings, len(x), "recordings"), seed)
    if len(np.unique(y[~left_out])) < 2:
        left_out[:] = False
    mean, deviation = _spread(x[~left_out])
    model = LogisticRegression(C=STRENGTH, max_iter=ROUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished fit is early stopping
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit((x[~left_out] - mean) / deviation, y[~left_out])
    found = accuracies(model.predict((x_test - mean) / deviation) == y_test, y_test)
    held = (x[left_out] - mean) / deviation
    return found | {"validation": model.score(held, y[left_out]) if left_out.any() else 0.0}


def _frames(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"frame_probe: {name} has shape {array.shape}; pass one frame per row, (n, d).")
    if not np.isfinite(array).all():
        raise ValueError(f"frame_probe: {name} holds NaN or infinity; the encoder diverged.")
    return array


def _spread(x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (d,). Summed in float64: in float32 the rounding of a large mean would pass for deviation."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    deviation[deviation <= 1e-6 * np.abs(mean)] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)


def _fifth(recordings: NDArray[np.generic], seed: int) -> NDArray[np.bool_]:
    each = np.random.default_rng(seed).permutation(np.unique(recordings))
    return np.isin(recordings, each[: max(1, len(each) // 5) if len(each) > 1 else 0])
