"""Vectors of tokens from counts."""

import numpy as np
import pytest
import torch

from modalities.text.token_vectors import _information, _near, start_from_counts, token_vectors
from tests.text.examples_sentences import TEXTS, encoder, tokenizer


def test_counts_by_hand_stop_at_the_ends_of_documents() -> None:
    documents = [np.array([0, 1, 2, 0]), np.array([3, 1])]
    found = _near(documents, 5, window=2).toarray()
    wanted = np.zeros((5, 5))
    for ids in documents:
        for i, left in enumerate(ids):
            for j, right in enumerate(ids):
                wanted[left, right] += 0 < abs(i - j) <= 2
    assert np.array_equal(found, wanted)
    assert not np.array_equal(_near([np.concatenate(documents)], 5, window=2).toarray(), wanted)  # the broken twin


def test_information_by_hand() -> None:
    counts = _near([np.array([0, 1, 2, 0, 3, 1, 1])], 4, window=1)
    table = counts.toarray()
    smooth = table.sum(1) ** 0.75 / (table.sum(1) ** 0.75).sum()
    with np.errstate(divide="ignore"):
        wanted = np.maximum(np.log(table / table.sum(1, keepdims=True) / smooth), 0)
    assert np.abs(_information(counts).toarray() - wanted).max() < 1e-12


def test_tokens_of_like_company_are_alike() -> None:
    rng = np.random.default_rng(0)
    halves = [rng.integers(0, 20, 200) + 20 * (i % 2) for i in range(40)]  # two vocabularies that never meet
    vectors = token_vectors(halves, 45, 8)
    assert vectors.shape == (45, 8) and not vectors[40:].any()
    assert abs(vectors[:40].std() - 1) < 1e-5 and np.abs(vectors[:40].mean(0)).max() < 1e-5
    unit = vectors[:40] / np.linalg.norm(vectors[:40], axis=1, keepdims=True)
    cosines = unit @ unit.T
    within = (cosines[:20, :20].sum() - 20) / 380
    assert within > cosines[:20, 20:].mean() + 0.5
    assert np.array_equal(vectors, token_vectors(halves, 45, 8))
    mixed = token_vectors([rng.integers(0, 40, 200) for _ in range(40)], 45, 8)  # the broken twin: nothing to find
    unit = mixed[:40] / np.linalg.norm(mixed[:40], axis=1, keepdims=True)
    assert (unit @ unit.T)[:20, :20].mean() - (unit @ unit.T)[:20, 20:].mean() < 0.2


def test_an_encoder_takes_them_and_keeps_what_never_occurred() -> None:
    torch.manual_seed(0)
    model = encoder()
    before = model.get_input_embeddings().weight.detach().clone()
    start_from_counts(model, tokenizer(), [text for row in TEXTS for text in row])
    after = model.get_input_embeddings().weight.detach()
    special = tokenizer().all_special_ids
    assert torch.equal(after[special], before[special])
    moved = (after != before).any(1)
    assert moved.sum() > 20 and abs(float(after[moved].std()) - 0.2) < 0.01


def test_too_little_text_is_refused() -> None:
    with pytest.raises(ValueError, match="need more than the 3 different tokens"):
        token_vectors([np.array([0, 1, 2])], 10, 8)
