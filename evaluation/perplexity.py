"""How well a language model foresaw held-out text: perplexity, bits per byte, and windows over long documents."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Window(NamedTuple):
    """Tokens [start, stop) of a document, read at once; those from `scored` on are scored there."""

    start: int
    scored: int
    stop: int


def windows(tokens: int, length: int, context: int) -> list[Window]:
    """Windows over a document of so many tokens that score each one but the first exactly once.

    A window holds at most `length` tokens and begins where the one before it ended, less `context` tokens that are
    read again but not scored; the last begins as early as it can. So every scored token has at least `context` tokens
    before it, or all that there are.
    """
    if not 1 <= context < length:
        raise ValueError(f"A context of {context} tokens must be at least 1 and below the window's length of {length}.")
    if tokens < 2:
        return []
    found, scored = [], 1
    while scored < tokens:
        stop = min(tokens, max(0, scored - context) + length)
        found.append(Window(max(0, stop - length), scored, stop))
        scored = stop
    return found


def language_scores(log_probs: npt.ArrayLike, text_bytes: int) -> dict[str, float]:
    """{"perplexity", "bits_per_byte"} of held-out text.

    Args:
        log_probs: (k,) natural logarithm of the probability of each token of all documents, end tokens among them.
        text_bytes: UTF-8 bytes of the same documents, as they were before tokenization. Perplexity depends on what
            counts as a token; bits per byte compares models with different tokenizers.
    """
    scores = np.asarray(log_probs, dtype=np.float64)
    if not scores.size or text_bytes < 1:
        raise ValueError(f"There are {scores.size} tokens and {text_bytes} bytes to judge; hold some text out.")
    return {
        "perplexity": math.exp(-scores.mean()),
        "bits_per_byte": float(-scores.sum()) / math.log(2) / text_bytes,
    }
