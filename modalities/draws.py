"""Random numbers that belong to a row, not to a process.

A random view must be the same whether one process or eight made it, with or without loader workers, before or after
a restart. So there is no generator with a state: every row brings one 64-bit seed, and its numbers are a hash of
(seed, counter). The hash is the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), used as a
counter-based generator in the way of Salmon et al. (SC 2011).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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


def uniform_on_device(seeds: Tensor, count: int, stream: int = 0) -> Tensor:
    """The torch twin of `uniform`, for views that are made on the training device: (n, count) fp32 in [0, 1).

    seeds: int64 (n,), the bits of the uint64 seeds. Row i depends on `seeds[i]` and `stream` alone, and is the same on
    every device; with stream 0 the numbers are those of `uniform` cut to 24 bits. Different streams are unrelated, so
    that two views or two uses of one row do not share their numbers.
    """
    # 24 bits are all that fp32 holds, and never round up to 1
    return _shift(_bits(seeds, count, stream), 40).float() * 2.0**-24


def integers_on_device(seeds: Tensor, count: int, stream: int = 0) -> Tensor:
    """As `uniform_on_device`, but (n, count) int64 in [0, 2**53): for choices of probability below 2**-24."""
    return _shift(_bits(seeds, count, stream), 11)


def as_signed(seeds: npt.NDArray[np.uint64]) -> Tensor:
    """Seeds as torch holds them: the same 64 bits, (n,) int64."""
    return torch.from_numpy(np.ascontiguousarray(seeds, dtype=np.uint64).view(np.int64).copy())


def _bits(seeds: Tensor, count: int, stream: int) -> Tensor:
    """All 64 of each draw, (n, count) int64."""
    assert seeds.ndim == 1 and seeds.dtype == torch.int64, f"seeds must be int64 (n,), got {seeds.dtype} {seeds.shape}"
    if stream:
        seeds = _mix_tensor(seeds + _signed(int(mix(np.array([stream], dtype=np.uint64))[0])))
    counters = torch.arange(count, device=seeds.device) * _signed(int(_GOLDEN))  # (count,), wraps around as uint64 does
    return _mix_tensor(_mix_tensor(seeds)[:, None] + counters)


def _mix_tensor(x: Tensor) -> Tensor:
    x = x + _signed(int(_GOLDEN))
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, places: int) -> Tensor:
    """Shift right as uint64 does, filling with zeros: torch shifts int64 with its sign."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >= 1 << 63 else bits
