"""Real processes for distributed tests: gloo over the loopback interface, started once per test."""

import multiprocessing
import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

TIMEOUT = 60.0  # seconds for the whole world, start-up included


class WorldError(AssertionError):
    """A rank failed, or the world did not finish in time."""


def run_in_world(fn: Callable[..., Any], *args: Any, processes: int = 2, timeout: float = TIMEOUT) -> list[Any]:
    """Call `fn(*args)` on every rank of a gloo world of real processes.

    Args:
        fn: a module-level function; the processes import its module, so keep that module's imports light. It finds
            `torch.distributed` initialised and its rank in `dist.get_rank()`.
        args: pickled to every rank.
        processes: world size, asserted on every rank.
        timeout: seconds before the world is given up.

    Returns:
        What `fn` returned, by rank. Tensors must not require gradients; return plain or detached values.

    Raises:
        WorldError: with the traceback of the rank that failed first. All processes are gone by then.
    """
    deadline = time.monotonic() + timeout
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        world = [
            context.Process(target=_rank, args=(fn, args, rank, processes, folder, timeout), daemon=True)
            for rank in range(processes)
        ]
        try:
            with _environment(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo"):
                for process in world:
                    process.start()
            _wait(world, deadline, folder)
            return [pickle.loads((Path(folder) / f"{rank}.result").read_bytes()) for rank in range(processes)]
        finally:
            for process in world:
                if process.is_alive():
                    process.kill()
                if process.pid is not None:
                    process.join()


def _wait(world: Sequence[BaseProcess], deadline: float, folder: str) -> None:
    running: dict[Any, int] = {process.sentinel: rank for rank, process in enumerate(world)}
    while running:
        ended = connection.wait(list(running), timeout=max(0.0, deadline - time.monotonic()))
        if not ended:
            raise WorldError(f"ranks {sorted(running.values())} of {len(world)} were still running at the deadline.")
        # A rank that fails takes its peers' connections with it; the earliest report is the cause, the rest follow.
        for sentinel in ended:
            world[running.pop(sentinel)].join()
        if any(process.exitcode for process in world):
            raise WorldError(_blame(world, Path(folder)))


def _blame(world: Sequence[BaseProcess], folder: Path) -> str:
    reports = sorted(folder.glob("*.traceback"), key=lambda path: path.stat().st_mtime_ns)
    if reports:
        return f"rank {reports[0].stem} of {len(world)} failed:\n{reports[0].read_text()}"
    codes = {rank: process.exitcode for rank, process in enumerate(world) if process.exitcode}
    return f"ranks died without a traceback, exit codes by rank: {codes}"


def _rank(
    fn: Callable[..., Any], args: tuple[Any, ...], rank: int, processes: int, folder: str, timeout: float
) -> None:
    import torch.distributed as dist

    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=timeout),
        )
        assert dist.get_world_size() == processes, f"asked for {processes} ranks, got {dist.get_world_size()}"
        assert dist.get_rank() == rank
        result = pickle.dumps(fn(*args))
        assert dist.get_world_size() == processes, "the function changed the world it ran in"
        (Path(folder) / f"{rank}.result").write_bytes(result)
        dist.barrier()  # nobody tears the connections down while another still uses them
        dist.destroy_process_group()
    except BaseException:
        (Path(folder) / f"{rank}.traceback").write_text(traceback.format_exc())
        raise SystemExit(1) from None


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables for the processes started inside: torch reads them before any function runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
