"""Checkpoints that are whole or not there, and that carry everything.

A checkpoint is a folder `step-00000120`: tensors as safetensors (nothing is ever unpickled), `state.json`, and
`manifest.json` with size and SHA-256 of each file. It is written beside its place, flushed, and renamed; older ones
are removed only afterwards, so at every instant one that loads is on disk. The tensors are found by walking the task
(parameters and *all* buffers, persistent or not) and the optimizer, not listed, so no method can forget its state.
Sharded (FSDP2) tensors are stored whole: a checkpoint resumes on any number of processes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

_MANIFEST = "manifest.json"
_PREFIX = "step-"


def save(
    folder: Path,
    step: int,
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    *,
    main: bool,
    keep: int,
) -> None:
    """Write checkpoint `step` into `folder`, then remove all but the newest `keep`.

    Every process must call this (sharded tensors are gathered); only `main` writes.

    Raises:
        OSError: when the disk is full, naming the space needed and the space there is; older ones stay intact.
    """
    tensors, slots = _tensors_of(task, main), _slots_of(task, optimizer, main)
    if not main:
        return
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    partial = folder / f".partial-{step:08d}"
    partial.mkdir()
    try:
        aliases = _write_tensors(tensors, partial / "task.safetensors")
        _write_tensors(slots, partial / "optimizer.safetensors")
        _write_json({"step": step, "aliases": aliases, **state}, partial / "state.json")
        manifest = {file.name: _fingerprint(file) for file in sorted(partial.iterdir())}
        _write_json(manifest, partial / _MANIFEST)
        _flush(partial)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        needed = sum(tensor.nbytes for tensor in (*tensors.values(), *slots.values()))
        free = shutil.disk_usage(folder).free
        raise OSError(
            f"Checkpoint of step {step} needs {_size(needed)} and {folder} has {_size(free)} free ({error}); the older "
            "checkpoints are intact."
        ) from error
    final = folder / f"{_PREFIX}{step:08d}"
    if final.exists():  # a damaged one that loading passed over
        _remove(final)
    os.rename(partial, final)
    _flush(folder)
    # Newer ones are damaged too, or the run would have gone on from them: they must not count among those kept.
    passed_over = [other for other in checkpoints(folder) if other.name > final.name]
    for other in passed_over:
        _remove(other)
    for other in checkpoints(folder)[keep:]:
        _remove(other)


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, newest first; not yet checked."""
    return sorted(folder.glob(f"{_PREFIX}*"), reverse=True)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint on disk, or None when every byte is as written."""
    try:
        manifest = json.loads((checkpoint / _MANIFEST).read_text())
        for name, entry in manifest.items():
            if _fingerprint(checkpoint / name) != entry:
                return f"{name} is not as it was written"
    except OSError as error:
        return str(error)
    except ValueError:
        return f"{_MANIFEST} is not as it was written"
    missing = {"task.safetensors", "optimizer.safetensors", "state.json"} - manifest.keys()
    return f"{', '.join(sorted(missing))} missing" if missing else None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text())
    return state


def load(checkpoint: Path, task: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, Any]:
    """Put `checkpoint` into `task` and `optimizer` (in place, bit for bit) and return its state.

    Raises:
        ValueError: when the task has tensors that the checkpoint lacks, or the other way round, or of other shapes.
    """
    state = read_state(checkpoint)
    stored = load_file(checkpoint / "task.safetensors")
    stored.update({name: stored[source] for name, source in state["aliases"].items()})
    own = dict(_walk(task))
    if own.keys() != stored.keys():
        raise ValueError(
            f"{checkpoint} does not fit the task: missing {sorted(own.keys() - stored.keys())[:5]}, unknown "
            f"{sorted(stored.keys() - own.keys())[:5]}."
        )
    for name, tensor in own.items():
        if tensor.shape != stored[name].shape:
            raise ValueError(
                f"{checkpoint} does not fit the task: {name} is {tuple(stored[name].shape)}, not {tuple(tensor.shape)}."
            )
        tensor.data.copy_(_as(tensor, stored[name]))
    if optimizer is not None:
        _load_slots(checkpoint, task, optimizer)
    return state


def bytes_needed(task: nn.Module) -> int:
    """Upper bound of one checkpoint's size: the task and two optimizer slots per trainable parameter."""
    size = sum(tensor.numel() * tensor.element_size() for _, tensor in _walk(task))
    return size + 2 * sum(p.numel() * p.element_size() for p in task.parameters() if p.requires_grad)


def _walk(task: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from task.named_parameters(remove_duplicate=False)
    yield from task.named_buffers(remove_duplicate=False)


def _tensors_of(task: nn.Module, main: bool) -> dict[str, Tensor]:
    return {name: whole for name, tensor in _walk(task) if (whole := _whole(tensor, main)) is not None}


def _slots_of(task: nn.Module, optimizer: torch.optim.Optimizer, main: bool) -> dict[str, Tensor]:
    slots: dict[str, Tensor] = {}
    for name, parameter in task.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            assert isinstance(value, Tensor), f"optimizer slot {slot} of {name} is no tensor"
            if (whole := _whole(value, main)) is not None:
                slots[f"{name}/{slot}"] = whole
    return slots


def _load_slots(checkpoint: Path, task: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The optimizer's tensors; its options are the configuration's."""
    parameters = dict(task.named_parameters())
    optimizer.state.clear()
    for key, stored in load_file(checkpoint / "optimizer.safetensors").items():
        name, slot = key.rsplit("/", 1)
        parameter = parameters[name]
        # A step counter stays on the host unless the fused kernel wants it beside the weights.
        fused = optimizer.defaults.get("fused") and parameter.is_cuda
        whole = stored if stored.ndim == 0 and not fused else _as(parameter, stored)
        # safetensors maps the file into memory, where it would outlive the checkpoint's removal.
        optimizer.state[parameter][slot] = whole.clone()


def _whole(tensor: Tensor, main: bool) -> Tensor | None:
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()  # collective, so on every process
    return tensor.cpu() if main else None


def _as(like: Tensor, whole: Tensor) -> Tensor:
    """`whole` on the device of `like`, and sharded as it is."""
    whole = whole.to(like.device)
    if isinstance(like, DTensor) and whole.ndim:
        return distribute_tensor(whole, like.device_mesh, like.placements)
    return whole


def _write_tensors(tensors: dict[str, Tensor], file: Path) -> dict[str, str]:
    """Write each storage once; returns the names that share one: {name: name that holds it}."""
    holders: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in holders:
            aliases[name] = holders[key]
        else:
            holders[key] = name
    save_file({name: _alone(tensor) for name, tensor in tensors.items() if name not in aliases}, file)
    _flush(file)
    return aliases


def _alone(tensor: Tensor) -> Tensor:
    """safetensors wants contiguous tensors that are no part of a larger storage."""
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if whole else tensor.contiguous().clone()


def _write_json(content: dict[str, Any], file: Path) -> None:
    with file.open("w") as handle:
        json.dump(content, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as handle:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(handle, "sha256").hexdigest()}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(checkpoint: Path) -> None:
    """Rename first: a removal that is cut short must not leave half a checkpoint under a whole one's name."""
    doomed = checkpoint.with_name(f".doomed-{checkpoint.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(checkpoint, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what an interrupted save left."""
    for pattern in (".partial-*", ".doomed-*"):
        for left in folder.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
