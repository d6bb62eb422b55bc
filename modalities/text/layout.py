"""Where each token of packed rows goes, worked out for all rows at once."""

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

Ints = npt.NDArray[np.int64]
SmallInts = npt.NDArray[np.int32]
_SHORTEST = 8  # tokens of a document that are worth a place at the end of a row


def lay_out(
    ids: Ints, words: Ints, lengths: Ints, tokenizer: PreTrainedTokenizerBase, length: int, causal: bool
) -> dict[str, SmallInts]:
    """Rows of `length` tokens: input_ids, segments, position_ids and words, (rows, length) each, 16 bytes a token.

    ids, words: of all documents end to end, of which document i has lengths[i] (at least one).
    """
    marks = 0 if causal else 2
    rows, starts, sizes, sources = _places(lengths.tolist(), length, marks)
    # Where in the flat grid each token goes: its piece's first place, plus its place in the piece.
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    begins = rows * length + starts  # of each piece, cls included
    places = np.repeat(begins + marks // 2, sizes) + within
    origins = np.repeat(sources, sizes) + within
    count = int(rows[-1]) + 1
    grid = {name: np.zeros(count * length, dtype=np.int32) for name in ("segments", "position_ids")}
    input_ids = np.full(count * length, tokenizer.pad_token_id, dtype=np.int32)
    input_ids[places] = ids[origins]
    if not causal:
        input_ids[begins] = tokenizer.cls_token_id
        input_ids[begins + sizes + 1] = tokenizer.sep_token_id
    whole = sizes + marks
    first_of_row = np.flatnonzero(np.diff(rows, prepend=-1))
    numbers = np.arange(len(rows)) - np.repeat(first_of_row, np.diff(first_of_row, append=len(rows))) + 1
    inside = np.arange(int(whole.sum())) - np.repeat(np.cumsum(whole) - whole, whole)
    filled = np.repeat(begins, whole) + inside
    grid["segments"][filled] = np.repeat(numbers, whole)
    grid["position_ids"][filled] = inside
    grid["input_ids"] = input_ids
    grid["words"] = _words_of_rows(words[origins], places, np.repeat(numbers, sizes), count, length)
    return {name: values.reshape(count, length) for name, values in grid.items()}


def _places(lengths: list[int], length: int, marks: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Row, place in the row, number of tokens and first token of each piece: (pieces,) each."""
    found: list[tuple[int, int, int, int]] = []
    row, free, source = 0, length, 0
    for tokens in lengths:
        left = tokens
        while left:
            if free < min(_SHORTEST, left, length - marks) + marks:
                row, free = row + 1, length
            size = min(left, free - marks)
            found.append((row, length - free, size, source))
            free -= size + marks
            left, source = left - size, source + size
    rows, starts, sizes, sources = np.array(found, dtype=np.int64).T
    return rows, starts, sizes, sources


def _words_of_rows(words: Ints, places: Ints, numbers: Ints, count: int, length: int) -> SmallInts:
    """Words counted from 0 in each row, -1 where there is none: a token begins one where its word or its segment is not
    that of the token before it. In the flat grid."""
    grid = np.full(count * length, -1, dtype=np.int32)
    real = words >= 0
    places, words, numbers = places[real], words[real], numbers[real]
    if len(places) == 0:
        return grid
    rows = places // length
    new = np.ones(len(places), dtype=np.int64)
    new[1:] = (np.diff(words) != 0) | (np.diff(numbers) != 0) | (np.diff(rows) != 0)
    running = np.cumsum(new) - 1
    first_of_row = np.flatnonzero(np.diff(rows, prepend=-1))
    grid[places] = running - np.repeat(running[first_of_row], np.diff(first_of_row, append=len(rows)))
    return grid
