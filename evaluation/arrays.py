"""Checked inputs: every evaluation starts from finite, non-empty arrays whose rows agree."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.intp]

CHUNK_VALUES = 4_000_000  # similarities held at once: 32 MB of float64


def matrix(values: ArrayLike, name: str) -> Floats:
    """Return `values` as a finite float64 array (n, d); float64 so that rounding never decides a rank.

    Raises ValueError when it is empty, not 2-D, or holds NaN or infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name}: expected one vector per row, shape (n, d), but got shape {array.shape}.")
    if 0 in array.shape:
        raise ValueError(f"{name}: shape {array.shape} holds nothing to evaluate; pass at least one row.")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(
            f"{name}: {int((~finite).sum())} of {len(array)} rows hold NaN or infinity (first: row {first}); "
            "the encoder diverged, so evaluate an earlier checkpoint."
        )
    return array


def column(values: ArrayLike, rows: int, name: str) -> NDArray[np.generic]:
    """Return `values` as (rows,) ids or labels. Raises ValueError when the length is another."""
    array = np.asarray(values)
    if array.shape != (rows,):
        raise ValueError(f"{name}: expected {rows} of them, one per row, but got shape {array.shape}.")
    return array


def unit_rows(array: Floats) -> Floats:
    """Rows of length one, (n, d). A row of zeros has no direction and stays zero: its cosines are 0."""
    array = array / np.maximum(np.abs(array).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    length = np.linalg.norm(array, axis=1, keepdims=True)
    unit: Floats = np.divide(array, length, out=np.zeros_like(array), where=length > 0)
    return unit


def same_width(first: Floats, second: Floats, names: str) -> None:
    """Raise ValueError when two sets of vectors cannot be compared."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names}: {first.shape[1]} against {second.shape[1]} dimensions; compare vectors of one space."
        )


def row_chunks(rows: int, width: int) -> list[slice]:
    """Slices over `rows` rows such that slice length times `width` stays under CHUNK_VALUES."""
    step = max(1, CHUNK_VALUES // max(1, width))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
