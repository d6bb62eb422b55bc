"""Ours against a peer: alternating fresh processes, so that neither inherits the other's memory or warm caches."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

Numbers = dict[str, float]


def resident(field: str) -> int:
    """VmRSS, the bytes resident now, or VmHWM, the most there have been. (getrusage would count the parent's peak.)"""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def measure(work: Callable[[], object]) -> Numbers:
    """CPU seconds of `work` on one thread, and extra bytes at its peak; prints them for `measure_apart`."""
    torch.set_num_threads(1)
    before, start = resident("VmRSS"), time.process_time()
    work()
    seconds = time.process_time() - start
    numbers = {"seconds": seconds, "bytes": float(resident("VmHWM") - before)}
    print(json.dumps(numbers))
    return numbers


def measure_apart(module: str, form: str, *options: str) -> Numbers:
    """`measure` in a process of its own: `python -m module --form form options`."""
    command = [sys.executable, "-m", module, "--form", form, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    numbers: Numbers = json.loads(done.stdout.splitlines()[-1])
    return numbers


def compare(module: str, peer: str, ours: str, pairs: int, *options: str) -> None:
    """Print every pair and the median ratios of time and of memory with their ranges."""
    seconds, extra = [], []
    for _ in range(pairs):
        one, other = measure_apart(module, peer, *options), measure_apart(module, ours, *options)
        seconds.append(one["seconds"] / other["seconds"])
        extra.append(one["bytes"] / other["bytes"])
        shown = (f"{name} {n['seconds']:.2f} s {n['bytes'] / 1e6:.0f} MB" for name, n in ((peer, one), (ours, other)))
        print("   ".join(shown), flush=True)
    print(_verdict("CPU time", peer, ours, seconds))
    print(_verdict("extra peak memory", peer, ours, extra))


def _verdict(name: str, peer: str, ours: str, ratios: list[float]) -> str:
    low, high = min(ratios), max(ratios)
    line = f"{name}: {peer} / {ours} = {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
    return f"{line}; no difference shown" if low <= 1 <= high else line
