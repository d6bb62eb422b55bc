"""Random numbers that belong to a row, not to a process.

A random view must be the same whether one process or eight made it, with or without loader workers, before or after
a restart. So there is no generator with a state: every row brings one 64-bit seed, and its numbers are a hash of
(seed, counter). The hash is the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), used as a
counter-based generator in the way of Salmon et al. (SC 2011).
"""

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scrambles 64-bit integers one to one: neighbouring inputs give unrelated outputs. Same shape as `x`."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seeds: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.float64]:
    """Draws (n, count) numbers in [0, 1), where row i depends on `seeds[i]` (uint64, (n,)) alone."""
    assert seeds.ndim == 1 and seeds.dtype == np.uint64, f"seeds must be uint64 (n,), got {seeds.dtype} {seeds.shape}"
    # The seed is scrambled before the counter is added. Plain SplitMix64 adds first, so that two seeds one golden
    # step apart would share all but one of their numbers.
    counters = np.arange(count, dtype=np.uint64) * _GOLDEN  # (count,)
    bits = mix(mix(seeds)[:, None] + counters)  # (n, count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
