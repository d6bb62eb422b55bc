"""Linear probe of frozen features by logistic regression, as in CLIP (arXiv 2103.00020, appendix A.3)."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from evaluation.accuracy import accuracies
from evaluation.arrays import Bools, Codes, Floats, column, matrix, same_width

# C of scikit-learn, strongest penalty first.
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0)
VALIDATION = 0.2


def linear_probe(
    train_x: ArrayLike,
    train_y: ArrayLike,
    test_x: ArrayLike,
    test_y: ArrayLike,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> dict[str, float]:
    """Return {"accuracy", "balanced_accuracy", "c"} of logistic regression on standardised features.

    train_x (n, d), train_y (n,), test_x (m, d), test_y (m,). Mean and deviation come from train alone. The
    inverse penalty C is swept on a split of train (a fifth of each class, drawn with `seed`; a class of one
    row is fitted but not validated), ties go to the stronger penalty, and the winner is fitted again on all
    of train. The test rows are used once, for the final score. A test class that never occurs in train
    counts as wrong.
    Raises ValueError for NaN or infinity, empty sets, lengths or widths that disagree, or a single class in
    train.
    """
    test = matrix(test_x, "test_x")
    wanted = column(test_y, len(test), "test_y")
    predicted, c = probe_predictions(train_x, train_y, test, seed, strengths)
    return {**accuracies(predicted == wanted, wanted), "c": c}


def probe_predictions(
    train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike, seed: int = 0, strengths: Sequence[float] = STRENGTHS
) -> tuple[NDArray[np.generic], float]:
    """What `linear_probe` says of the test rows, (m,) of the classes in train_y, and the C that it chose."""
    train, test = matrix(train_x, "train_x"), matrix(test_x, "test_x")
    same_width(train, test, "train_x and test_x")
    classes, codes = np.unique(column(train_y, len(train), "train_y"), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"linear_probe: train holds only class {classes[0]}; a probe needs two or more.")

    held_out = validation_rows(codes, seed)
    c = strengths[len(strengths) // 2]
    if held_out.any():
        scores = _validation_scores(train, codes, held_out, strengths)
        c = strengths[int(np.argmax(scores))]

    scaler = StandardScaler().fit(train)
    model = _fit(LogisticRegression(C=c, max_iter=500), scaler.transform(train), codes)
    return classes[model.predict(scaler.transform(test))], float(c)  # (m,)


def validation_rows(codes: Codes, seed: int) -> Bools:
    """Mark a fifth of each class, at least one row and never its last one, (n,)."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(codes), dtype=np.bool_)
    for code in range(int(codes.max()) + 1):
        rows = rng.permutation(np.flatnonzero(codes == code))
        count = min(max(1, round(VALIDATION * len(rows))), len(rows) - 1)
        chosen[rows[:count]] = True
    return chosen


def _validation_scores(train: Floats, codes: Codes, held_out: Bools, strengths: Sequence[float]) -> NDArray[np.float64]:
    """Accuracy on the held-out rows for every strength; each fit starts from the one before."""
    scaler = StandardScaler().fit(train[~held_out])
    x, y = scaler.transform(train[~held_out]), codes[~held_out]
    x_held, y_held = scaler.transform(train[held_out]), codes[held_out]
    model = LogisticRegression(max_iter=100, warm_start=True)
    return np.array([_fit(model.set_params(C=c), x, y).score(x_held, y_held) for c in strengths])


def _fit(model: LogisticRegression, x: Floats, y: Codes) -> LogisticRegression:
    with warnings.catch_warnings():
        # An unfinished fit at a weak penalty is still a valid candidate: it is early stopping.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # With one row or two of each class the labels are still classes, not numbers to regress on.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return model.fit(x, y)
