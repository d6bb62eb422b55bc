"""The processes of a run: how many there are, on what, at which precision."""

import ctypes
import os
import re
import signal
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs

from trainers.config import TrainConfig

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def open_world(cfg: TrainConfig) -> Accelerator:
    """The Accelerator of this process.

    Raises:
        ValueError: when fewer processes run than the launcher was asked for, the batch does not divide among them, the
            precision is not to be had on this device, or the launcher wants a strategy that the loop does not use.
    """
    _restore_threads()
    _follow_launcher()
    cpu = not torch.cuda.is_available()
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=_mixed_precision(cfg.precision),
        log_with=None if cfg.tracker == "none" else cfg.tracker.split(","),
        project_dir=str(cfg.out / "tracking"),
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=timedelta(seconds=cfg.timeout)),
            # A task's state is the same on every process by itself; sending a queue or a bank round each step is slow.
            DistributedDataParallelKwargs(broadcast_buffers=False),
        ],
    )
    asked = asked_processes()
    if accelerator.num_processes != asked:
        raise ValueError(
            f"{asked} processes were asked for and {accelerator.num_processes} run; on a machine without GPUs use "
            f"`torchrun --nproc_per_node {asked}` or `accelerate launch --multi_gpu --num_processes {asked} "
            "--num_machines 1`."
        )
    if accelerator.distributed_type not in (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU):
        raise ValueError(
            f"The launcher asks for {accelerator.distributed_type.value}, which this loop does not use; launch with "
            "distributed_type MULTI_GPU, and split the weights with train.shard if they do not fit."
        )
    cfg.share(accelerator.num_processes)
    return accelerator


def asked_processes() -> int:
    """Processes that the launcher was asked for.

    torchrun tells its workers by WORLD_SIZE. `accelerate launch` starts a single process, and says nothing, when it
    finds no GPUs (`--cpu --num_processes 2`, a MULTI_CPU config file), so its own command line is read.
    """
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    command = _launcher_command()
    count = _option(command, "num_processes")
    if not count and (file := _option(command, "config_file")):
        count = _configured_processes(Path(file))
    return max(1, int(count)) if count.isdigit() else 1


def _option(command: list[str], name: str) -> str:
    """Value of `--name value` or `--name=value`, with underscores or hyphens; "" where it is not given."""
    for place, word in enumerate(command):
        option, _, value = word.partition("=")
        if option.replace("-", "_") == f"__{name}":
            return value or (command[place + 1] if place + 1 < len(command) else "")
    return ""


def _configured_processes(file: Path) -> str:
    return str((yaml.safe_load(file.read_text()) or {}).get("num_processes", "")) if file.is_file() else ""


def _launcher_command() -> list[str]:
    """Command line of `accelerate launch` when it is this process's parent, up to the script, else nothing."""
    parent = _launcher()
    command = parent.cmdline() if parent else []
    # `accelerate launch`, `accelerate-launch` or `python -m accelerate.commands.launch`
    verb = next((place for place, word in enumerate(command) if re.search(r"(^|[-.])launch$", word)), None)
    if verb is None:
        return []
    command = command[verb + 1 :]
    script = next((place for place, word in enumerate(command) if word.endswith(".py")), len(command))
    return command[:script]


def _launcher() -> psutil.Process | None:
    try:
        parent = psutil.Process().parent()
        return parent if parent and any("accelerate" in word for word in parent.cmdline()[:4]) else None
    except (psutil.Error, OSError):
        return None


def _restore_threads() -> None:
    """A bare `accelerate launch` allows one thread per process; without GPUs that leaves the other cores idle."""
    launcher = _launcher()
    if torch.cuda.is_available() or launcher is None:
        return
    try:
        chosen = launcher.environ().get("OMP_NUM_THREADS")
    except (psutil.Error, OSError):
        return
    if chosen is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _follow_launcher() -> None:
    """A bare `accelerate launch` dies of a SIGTERM and leaves its child running: let the child get one too (Linux)."""
    if sys.platform == "linux" and "WORLD_SIZE" not in os.environ and _launcher() is not None:
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _mixed_precision(precision: str) -> str:
    """Accelerate's name for `precision`, after a look at what the device can do."""
    gpu = torch.cuda.is_available()
    native_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        return "bf16" if native_bf16 else "no"
    if precision == "fp16" and not gpu:
        raise ValueError("train.precision fp16 needs a CUDA GPU and there is none; use fp32.")
    if precision == "bf16" and gpu and not native_bf16:
        raise ValueError(f"train.precision bf16 is emulated on {torch.cuda.get_device_name()}; use fp16 or fp32.")
    if precision == "bf16" and not gpu and not _cpu_has_bf16():
        raise ValueError("train.precision bf16 is several times slower than fp32 on this CPU; use fp32.")
    return "no" if precision == "fp32" else precision


def _cpu_has_bf16() -> bool:
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # newer than the oldest torch allowed
    return any(known.get(unit) for unit in ("avx512_bf16", "amx_bf16", "sve_bf16"))
