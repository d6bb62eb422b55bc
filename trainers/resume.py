"""What a checkpoint holds of a *run*, and when going on from one is refused."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from trainers import checkpoint
from trainers.config import TrainConfig
from trainers.loader import Order
from trainers.stream import StreamOrder


def save(
    accelerator: Accelerator,
    cfg: TrainConfig,
    run: dict[str, Any],
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    order: Order,
    step: int,
    bad_in_row: int,
) -> None:
    """Checkpoint the run after `step` steps; every process calls it."""
    lanes: dict[str, Any] = {}
    if isinstance(order, StreamOrder):
        for part in gather_object([order.state(step)]):
            lanes |= part
    state = {
        "run": run,
        "bad_in_row": bad_in_row,
        "lanes": lanes,
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
    }
    checkpoint.save(
        cfg.out / "checkpoints", step, task, optimizer, state, main=accelerator.is_main_process, keep=cfg.keep
    )
    accelerator.wait_for_everyone()


def resume(
    accelerator: Accelerator,
    cfg: TrainConfig,
    run: dict[str, Any],
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    order: Order,
) -> tuple[int, int]:
    """Go to the newest whole checkpoint, if there is one: (step, bad steps in a row).

    Raises:
        ValueError: when the processes disagree on what they train, or a checkpoint must not be resumed.
    """
    folder = cfg.out / "checkpoints"
    choice: list[Any] = [None, None]
    if accelerator.is_main_process:
        choice = [_choose(folder, cfg, run), run]
    chosen, first = broadcast_object_list(choice)
    apart = [changes for changes in gather_object([_differences(first, run)]) if changes]
    if apart:
        raise ValueError(
            f"The processes do not train the same thing: {'; '.join(apart[0])} elsewhere. What is built in each process"
            " (data, tokenizer) must not depend on the process."
        )
    if isinstance(chosen, str) and chosen.startswith("refused: "):
        raise ValueError(chosen.removeprefix("refused: "))
    if chosen is None:
        return 0, 0
    state = checkpoint.load(folder / chosen, task, optimizer)
    if accelerator.scaler is not None and state["scaler"] is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    if isinstance(order, StreamOrder):
        order.restore(state["lanes"])
    accelerator.print(f"Resumed {folder / chosen}.")
    return state["step"], state["bad_in_row"]


def _choose(folder: Path, cfg: TrainConfig, run: dict[str, Any]) -> str | None:
    """Name of the checkpoint to resume, None for a fresh start, or "refused: <why>" for every rank to raise."""
    found = checkpoint.checkpoints(folder)
    if found and cfg.resume == "never":
        return f"refused: {folder} already holds {found[0].name}; remove it or choose another folder with --train.out."
    for candidate in found:
        if (wrong := checkpoint.damage(candidate)) is not None:
            print(f"Checkpoint {candidate.name} is damaged and passed over: {wrong}.", flush=True)
            continue
        then = checkpoint.read_state(candidate)["run"]
        # Options that are newer than the checkpoint had no effect on it, as they have by default.
        then["train"] = TrainConfig().identity() | then["train"]
        changes = _differences(then, run)
        if changes and cfg.resume == "auto":
            return (
                f"refused: {candidate} was made with other settings: {'; '.join(changes)}. Choose another folder with "
                "--train.out, or go on nevertheless with --train.resume anyway."
            )
        return candidate.name
    if found:
        return f"refused: every checkpoint in {folder} is damaged; remove them to start anew."
    return None


def _differences(then: Any, now: Any, path: str = "") -> list[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = sorted(then.keys() | now.keys())
        return [d for key in keys for d in _differences(then.get(key), now.get(key), f"{path}.{key}".lstrip("."))]
    return [] if then == now else [f"{path} was {then} and is {now}"]
