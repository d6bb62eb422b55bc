"""Cross-modal retrieval: recall at k, as reported by CLIP (arXiv 2103.00020)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import Codes, column, matrix, row_chunks, same_width, unit_rows
from evaluation.ties import hits


def recall(
    queries: ArrayLike,
    keys: ArrayLike,
    query_ids: ArrayLike,
    key_ids: ArrayLike,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[int, float]:
    """Share of queries with a key of their own id among the k nearest by cosine, per k.

    queries (n, d), keys (m, d), of any length (they are normalised here); query_ids (n,), key_ids (m,):
    equal ids belong together, several keys may share one. Equal similarities count with the probability
    that a random order would place a right key first (`evaluation.ties`): a constant embedding scores
    chance, k/m with one right key each. With k >= m every query hits.

    Raises ValueError for NaN or infinity, empty sets, lengths or widths that disagree, k < 1, and a query
    whose id no key has.
    """
    queries, keys = matrix(queries, "queries"), matrix(keys, "keys")
    same_width(queries, keys, "queries and keys")
    for k in ks:
        if k < 1:
            raise ValueError(f"recall: k = {k} asks for no keys; k must be 1 or more.")
    query_codes, key_codes = _shared_codes(
        column(query_ids, len(queries), "query_ids"), column(key_ids, len(keys), "key_ids")
    )

    keys = unit_rows(keys)
    total = np.zeros(len(ks))
    for rows in row_chunks(len(queries), len(keys)):
        scores = unit_rows(queries[rows]) @ keys.T  # (chunk, m)
        total += hits(scores, query_codes[rows, None] == key_codes, ks).sum(axis=0)
    return {k: float(share) for k, share in zip(ks, total / len(queries), strict=True)}


def retrieve_both(
    image: ArrayLike,
    text: ArrayLike,
    image_ids: ArrayLike,
    text_ids: ArrayLike,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Recall in both directions: {"image_to_text_r1": ..., "text_to_image_r1": ..., ...}.

    image (n, d), text (m, d), image_ids (n,), text_ids (m,). An image may have several captions: it is
    found when any of them is among its k nearest, and each caption is a query of its own. Raises as
    `recall` does.
    """
    to_text = recall(image, text, image_ids, text_ids, ks)
    to_image = recall(text, image, text_ids, image_ids, ks)
    return {f"image_to_text_r{k}": to_text[k] for k in ks} | {f"text_to_image_r{k}": to_image[k] for k in ks}


def _shared_codes(query_ids: np.ndarray, key_ids: np.ndarray) -> tuple[Codes, Codes]:
    """Ids of any type as integers that are equal exactly when the ids are."""
    if (query_ids.dtype.kind in "US") != (key_ids.dtype.kind in "US"):
        raise ValueError(
            f"recall: query ids are {query_ids.dtype}, key ids {key_ids.dtype}; make both numbers or text."
        )
    known = np.unique(key_ids)
    place = np.minimum(np.searchsorted(known, query_ids), len(known) - 1)
    missing = known[place] != query_ids
    if missing.any():
        first = int(np.argmax(missing))
        raise ValueError(
            f"recall: {int(missing.sum())} of {len(query_ids)} queries have an id that no key has "
            f"(query {first}, id {query_ids[first]}); score only queries whose answer is among the keys."
        )
    return place, np.searchsorted(known, key_ids)
