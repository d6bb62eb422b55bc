"""What rows of two texts that mean the same (two translations) can teach: harder and easier pairs made of them.

The other side of a pair is taken from the same document (the next verse of the chapter), which shares its subject and
its words, or from another one.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from modalities.text.rows import Rows

Places = npt.NDArray[np.int64]


def next_in_document(rows: Rows) -> Places:
    """For each row the place of the next one of its document, (n,); of the last one, the first. A row that is alone in
    its document has itself."""
    following = np.arange(len(rows))
    order = np.argsort(rows.documents, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(rows.documents[order])) + 1):
        following[group] = np.roll(group, -1)
    return following


def hard_negatives(rows: Rows) -> Rows:
    """(first, second) -> (first, second, the next row's second). Rows that are alone in their document, or whose
    neighbour says the same, are left out."""
    pairs, following = _two_texts(rows), next_in_document(rows)
    kept = [place for place, other in enumerate(following) if pairs[other][1] != pairs[place][1]]
    found = rows.select(kept)
    return replace(found, texts=[[*pairs[place], pairs[following[place]][1]] for place in kept])


def same_or_not(rows: Rows) -> Rows:
    """(first, second) with label 1, and (first, the next row's second) with label 0: (2n,), but for rows that
    `hard_negatives` leaves out."""
    three = hard_negatives(rows)
    return _joined([(three, 1, 1, None), (three, 2, 0, None)])


def graded(rows: Rows, seed: int = 0) -> Rows:
    """Pairs with a score by where the second text stands: 1 the same row, 0.5 the next of its document, 0 one of
    another document, drawn at random. A scale that is made up, for want of people's judgements."""
    three = hard_negatives(rows)
    drawn = np.random.default_rng(seed).permutation(len(three))
    elsewhere = np.flatnonzero(three.documents != three.documents[drawn])
    far = replace(
        three.select(elsewhere), texts=[[three.texts[i][0], three.texts[drawn[i]][1]] for i in elsewhere.tolist()]
    )
    return _joined([(three, 1, None, 1.0), (three, 2, None, 0.5), (far, 1, None, 0.0)])


def _two_texts(rows: Rows) -> list[list[str]]:
    if any(len(texts) != 2 for texts in rows.texts):
        raise ValueError(
            "Pairs are made of rows of two texts; name a source that has them (verses), or two columns with "
            "--data.text-column."
        )
    return rows.texts


def _joined(parts: list[tuple[Rows, int, int | None, float | None]]) -> Rows:
    """Of each part (rows, which text is the second one, label, score)."""
    return Rows(
        ids=np.arange(sum(len(rows) for rows, *_ in parts)),
        texts=[[texts[0], texts[second]] for rows, second, *_ in parts for texts in rows.texts],
        labels=[label for rows, _, label, _ in parts for _ in rows.texts],
        scores=[score for rows, *_, score in parts for _ in rows.texts],
        documents=np.concatenate([rows.documents for rows, *_ in parts]),
    )
