"""Whole runs of `fit` in processes that a test may kill.

The processes are forked from a server that has torch and the trainers imported: a start costs a fraction of a second.
Faults come from outside the trainers: `Plan.fault` replaces a function of the toys or of the system.
"""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from tests.trainers import toys
from trainers import checkpoint, loop
from trainers.config import TrainConfig

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.trainers.runs"])


@dataclass(frozen=True)
class Plan:
    """One run of a toy task and what happens to it."""

    out: Path
    cfg: dict[str, Any] = field(default_factory=dict)
    task: str = "Single"
    task_options: dict[str, Any] = field(default_factory=dict)
    rows: int = 40
    stream: bool = False
    evaluate: bool = False
    identity: dict[str, Any] = field(default_factory=dict)
    apart: bool = False
    """Whether what is trained differs from process to process, as when each trains a tokenizer of its own."""
    rank: int | None = None
    """The process that the fault befalls; None for all."""
    fault: str = ""
    """kill, raise, terminate, terminate the launcher, or nan."""
    where: str = "collate"
    """The function whose calls are counted: collate, forward, after_step, save_file, fsync, rename or rmtree."""
    calls: tuple[int, ...] = ()
    """At which of its calls, counted from 1, the fault strikes."""

    def config(self) -> TrainConfig:
        options = {
            "batch_size": 8,
            "epochs": 4.0,
            "lr": 0.05,
            "log_every": 1,
            "save_every": 3,
            "tracker": "none",
            "timeout": 30.0,
        }
        return TrainConfig(out=self.out, **(options | self.cfg))

    def but(self, **changes: Any) -> "Plan":
        return replace(self, **changes)


_OWNERS: dict[str, Any] = {"collate": toys, "save_file": checkpoint, "fsync": os, "rename": os, "rmtree": shutil}


def execute(plan: Plan) -> dict[str, Any]:
    """Run the plan in this process: {"weights": every tensor at the end, "updates": calls of after_step}."""
    torch.manual_seed(0)
    task = getattr(toys, plan.task)(**plan.task_options)
    data = (toys.Stream if plan.stream else toys.Rows)(plan.rows)
    if plan.fault and plan.rank in (None, int(os.environ.get("RANK", "0"))):
        _arm(plan, _OWNERS.get(plan.where, type(task)))
    evaluate = _leave_in_eval_mode if plan.evaluate else None
    identity = plan.identity | ({"tokenizer": os.environ["RANK"]} if plan.apart else {})
    task = loop.fit(task, data, lambda rows, seeds: toys.collate(rows, seeds), plan.config(), evaluate, identity)
    return {"weights": toys.state_of(task), "updates": getattr(task, "updates", 0)}


def _leave_in_eval_mode(task: torch.nn.Module, step: int) -> dict[str, float]:
    assert not task.training
    task.eval()
    return {"step": float(step)}


def _arm(plan: Plan, owner: Any) -> None:
    real, count = getattr(owner, plan.where), itertools.count(1)

    def counted(*args: Any, **options: Any) -> Any:
        strikes = next(count) in plan.calls
        if strikes and plan.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if strikes and plan.fault == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        if strikes and plan.fault == "terminate the launcher":
            os.kill(os.getppid(), signal.SIGTERM)
        if strikes and plan.fault == "raise":
            raise ZeroDivisionError("the guilty line")
        result = real(*args, **options)
        if strikes and plan.fault == "nan":
            result["x"] = result["x"] * torch.nan
        return result

    setattr(owner, plan.where, counted)


def start(plan: Plan, processes: int = 1, then: Callable[[Plan], Any] = execute) -> list[BaseProcess]:
    """Start the ranks of a run without waiting for them; `finish` must follow."""
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [_server.Process(target=_rank, args=(then, plan, rank, processes, port)) for rank in range(processes)]
    for process in ranks:
        process.start()
    return ranks  # type: ignore[return-value]


def finish(ranks: list[BaseProcess], timeout: float = 60.0) -> list[int]:
    """Exit codes, once all have ended; when one fails the others get 15 seconds to notice."""
    running = {process.sentinel: process for process in ranks}
    try:
        while running:
            ended = connection.wait(list(running), timeout=timeout)
            assert ended, f"{len(running)} of {len(ranks)} processes were still running after {timeout} s"
            for sentinel in ended:
                process = running.pop(int(sentinel))  # type: ignore[arg-type]
                process.join()
                if process.exitcode:
                    timeout = min(timeout, 15.0)
        return [process.exitcode or 0 for process in ranks]
    finally:
        for process in ranks:
            if process.is_alive():
                process.kill()
            process.join()


def run(plan: Plan, processes: int = 1) -> dict[str, Any]:
    """Run the plan to its end and return what rank 0 did."""
    codes = finish(start(plan, processes))
    assert codes == [0] * processes, f"exit codes {codes}\n{said(plan)}"
    return result(plan)


def fail(plan: Plan, processes: int = 1) -> list[int]:
    """Run a plan that must not succeed: exit codes, negative for signals."""
    codes = finish(start(plan, processes))
    assert any(codes), f"the run succeeded\n{said(plan)}"
    return codes


def result(plan: Plan, rank: int = 0) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(_beside(plan, rank, "result"))
    return loaded


def said(plan: Plan, rank: int = 0) -> str:
    """All that a rank's runs printed, tracebacks included."""
    return _beside(plan, rank, "log").read_text()


def _beside(plan: Plan, rank: int, kind: str) -> Path:
    return plan.out.with_name(f"{plan.out.name}-{rank}.{kind}")


def _rank(then: Callable[[Plan], Any], plan: Plan, rank: int, processes: int, port: int) -> None:
    log = os.open(_beside(plan, rank, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for loader workers, as in a run of its own
    if processes > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
    try:
        outcome = then(plan)
        if processes > 1:
            assert torch.distributed.get_world_size() == processes
        torch.save(outcome, _beside(plan, rank, "result"))
        if processes > 1:
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def steps_on_disk(plan: Plan) -> list[int]:
    """Steps of the checkpoints, newest first."""
    return [int(file.name.removeprefix("step-")) for file in checkpoint.checkpoints(plan.out / "checkpoints")]


def main() -> None:
    """`runs.py PLAN.json`: one plan under a launcher, which this module's own processes have not."""
    options = json.loads(Path(sys.argv[1]).read_text())
    options["calls"] = tuple(options.get("calls", ()))
    execute(Plan(**(options | {"out": Path(options["out"])})))
    print(f"threads {torch.get_num_threads()}\nprocesses {PartialState().num_processes}", flush=True)


if __name__ == "__main__":
    main()
