"""Which word a token is of, where a text came as a list of words."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def joined(words: Sequence[str]) -> str:
    """The text of these words, for the tokenizer: byte-level BPE would take each word of a list for a text's first."""
    return " ".join(words)


def words_of_tokens(words: Sequence[str], offsets: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Number of the word that each token of `joined(words)` is of, (t,); -1 at marks and padding. The space before a
    word is part of it.

    offsets: (t, 2), as tokenizers give them with `return_offsets_mapping`.
    """
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    stops = np.asarray(offsets)[:, 1]
    # By a token's last character, which tokenizers agree on, as they do not on its first. A mark has none.
    return np.where(stops > 0, np.searchsorted(ends, stops - 1, side="right"), -1)
