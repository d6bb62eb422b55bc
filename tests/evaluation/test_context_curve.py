"""The loss by what was read before."""

from pathlib import Path

import numpy as np

from evaluation.context_curve import context_curve, loss_by_context


def test_groups_hold_every_token_once_and_keep_short_contexts_apart() -> None:
    before = np.concatenate([np.arange(1, 65)] * 3)
    nats = 1 / before
    lengths, losses = loss_by_context(nats, before)
    assert lengths[0] == 1 and losses[0] == 1 and lengths[1] == 2 and losses[1] == 0.5
    assert (np.diff(lengths) > 0).all() and (np.diff(losses) < 0).all() and 50 < lengths[-1] <= 64
    shuffled = loss_by_context(np.random.default_rng(0).permutation(nats), before)[1]
    assert np.abs(shuffled - losses).max() > 0.1  # the broken twin: losses of other tokens


def test_one_length_is_one_group() -> None:
    lengths, losses = loss_by_context([1.0, 3.0], [1, 1])
    assert lengths.tolist() == [1] and losses.tolist() == [2]


def test_it_draws(tmp_path: Path) -> None:
    context_curve({"this": ([1, 2, 4], [3, 2, 1])}, {"5-grams": 1.5}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000
