"""Numbers of a row: a function of its own seed, and evenly spread."""

import numpy as np
import torch

from modalities.draws import as_signed, integers_on_device, mix, uniform, uniform_on_device

SEEDS = np.arange(1000, dtype=np.uint64) * np.uint64(7919)


def shared_generator(seeds: np.ndarray, count: int) -> np.ndarray:
    """Broken twin: one generator for the batch, as a worker's global state would be."""
    return np.random.default_rng(int(seeds[0])).random((len(seeds), count))


def belongs_to_rows(draw) -> bool:
    """Whether a row draws the same alone, reversed, and in another batch."""
    whole = draw(SEEDS, 4)
    reversed_ = draw(SEEDS[::-1].copy(), 4)[::-1]
    alone = np.concatenate([draw(SEEDS[i : i + 1], 4) for i in range(20)])
    return bool((whole == reversed_).all() and (whole[:20] == alone).all())


def test_a_row_draws_from_its_own_seed_only():
    assert belongs_to_rows(uniform)
    assert not belongs_to_rows(shared_generator)


def test_the_first_numbers_do_not_depend_on_how_many_are_drawn():
    assert (uniform(SEEDS, 2) == uniform(SEEDS, 5)[:, :2]).all()


def test_known_values():
    # First outputs of the reference SplitMix64 generator with state 0: the state advances by the golden gamma.
    gamma = 0x9E3779B97F4A7C15
    states = np.array([0, gamma], dtype=np.uint64)
    assert [int(x) for x in mix(states)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def chi_square(values: np.ndarray, cells: int) -> float:
    counts = np.bincount((values * cells).astype(int), minlength=cells)
    expected = len(values) / cells
    return float(((counts - expected) ** 2 / expected).sum())


def test_numbers_are_uniform_and_columns_unrelated():
    # Neighbouring seeds and seeds one golden step apart are the hard cases for a counter-based hash.
    for step in (1, 0x9E3779B97F4A7C15):
        seeds = np.arange(20_000, dtype=np.uint64) * np.uint64(step)
        draws = uniform(seeds, 3)
        assert (draws >= 0).all() and (draws < 1).all()
        for column in draws.T:
            assert chi_square(column, 100) < 150  # 99 degrees of freedom: 1 in 1,000 exceeds 149
        related = np.corrcoef(np.concatenate([draws, np.roll(draws, 1, axis=0)], axis=1).T)
        assert np.abs(related - np.eye(6)).max() < 0.03  # 4 standard errors
    assert chi_square(uniform(np.arange(20_000, dtype=np.uint64), 1)[:, 0] ** 1.1, 100) > 150


def test_the_torch_twin_draws_the_same_numbers():
    seeds = mix(SEEDS)  # all 64 bits in use, so that half of the seeds are negative to torch
    wanted = np.floor(uniform(seeds, 5) * 2**24) / 2**24
    found = uniform_on_device(as_signed(seeds), 5)
    assert found.dtype == torch.float32 and (found.double().numpy() == wanted).all()
    whole = integers_on_device(as_signed(seeds), 5)
    assert (whole.numpy() == uniform(seeds, 5) * 2**53).all() and (whole % 2**29).any(1).all()  # all 53 bits
    arithmetic = ((as_signed(seeds) >> 40).float() * 2.0**-24).numpy()  # the broken twin: a shift that keeps the sign
    assert (arithmetic < 0).any()


def test_streams_of_one_row_are_unrelated():
    seeds = as_signed(np.arange(20_000, dtype=np.uint64))
    streams = np.stack([uniform_on_device(seeds, 1, stream)[:, 0].double().numpy() for stream in range(4)])
    assert np.abs(np.corrcoef(streams) - np.eye(4)).max() < 0.03  # 4 standard errors
    assert all(chi_square(draws, 100) < 150 for draws in streams)
    assert (uniform_on_device(seeds, 1, 2)[:5] == uniform_on_device(seeds[:5], 3, 2)[:, :1]).all()
