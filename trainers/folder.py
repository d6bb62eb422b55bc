"""The output folder of a run: claimed by one run at a time, with the record of what made it."""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "evaluate", "numpy")
_claims: dict[Path, IO[str]] = {}


def claim(out: Path) -> None:
    """Make `out`, check that it can be written and lock it for this process; claiming it again does nothing.

    The lock is the operating system's, so it vanishes with the process that held it, however that ended.

    Raises:
        ValueError: when the folder cannot be written, or another run is using it (which is named).
    """
    out = out.resolve()
    if out in _claims:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = (out / ".lock").open("a+")
    except OSError as error:
        raise ValueError(
            f"The output folder {out} cannot be written ({error.strerror}); choose another with --train.out."
        ) from error
    try:
        # Not flock: forked loader workers would inherit it, and hold it for seconds after this process was killed.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        handle.seek(0)
        holder = handle.read().strip() or "another process"
        handle.close()
        raise ValueError(f"The output folder {out} is in use by {holder}; choose another with --train.out.") from None
    handle.truncate(0)
    handle.write(f"process {os.getpid()} on {socket.gethostname()}")
    handle.flush()
    _claims[out] = handle


def require_space(out: Path, needed: int) -> None:
    """Refuse before the first step what the disk could not hold.

    Raises:
        ValueError: naming the bytes needed and there.
    """
    free = shutil.disk_usage(out).free
    if free < needed:
        raise ValueError(
            f"The checkpoints need {needed / 1e6:.0f} MB and {out} has {free / 1e6:.0f} MB free; free some, lower "
            "train.keep, or choose another folder with --train.out."
        )


def provenance() -> dict[str, Any]:
    """What made a run: command line, Python, package versions, and the revision where the code is a git checkout."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": sys.version.split()[0],
        "packages": versions,
        "revision": _revision(),
    }


def digest(content: Any) -> str:
    """Short hash of anything JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _revision() -> str | None:
    root = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None if run.returncode == 0 else None
