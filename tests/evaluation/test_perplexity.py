"""Perplexity, bits per byte, and windows that score each token once."""

import math

import numpy as np
import pytest

from evaluation.perplexity import language_scores, windows


def test_guessing_has_the_perplexity_of_the_vocabulary() -> None:
    scores = language_scores(np.full(7, -math.log(50)), 14)
    assert scores["perplexity"] == pytest.approx(50, rel=1e-12)
    assert scores["bits_per_byte"] == pytest.approx(math.log2(50) / 2, rel=1e-12)


def test_the_mean_is_over_tokens_and_not_over_documents() -> None:
    long, short = np.full(9, -1.0), np.full(1, -3.0)
    assert language_scores(np.concatenate([long, short]), 1)["perplexity"] == pytest.approx(math.exp(1.2))


@pytest.mark.parametrize("text_bytes", [0, 5])
def test_nothing_to_judge_is_said(text_bytes: int) -> None:
    with pytest.raises(ValueError, match="hold some text out"):
        language_scores([], text_bytes)


@pytest.mark.parametrize("tokens", [0, 1, 2, 7, 8, 9, 30, 33])
@pytest.mark.parametrize(("length", "context"), [(8, 1), (8, 4), (8, 7), (2, 1)])
def test_windows_score_every_token_but_the_first_once(tokens: int, length: int, context: int) -> None:
    scored = []
    for start, first, stop in windows(tokens, length, context):
        assert 0 <= start < first < stop <= tokens and stop - start <= length
        assert first - start >= min(context, first)
        scored += range(first, stop)
    assert scored == list(range(1, tokens))


@pytest.mark.parametrize("context", [0, 8])
def test_a_context_that_does_not_fit_is_refused(context: int) -> None:
    with pytest.raises(ValueError, match=f"context of {context}"):
        windows(20, 8, context)
