"""Lets torchaudio be imported beside a build of torch without CUDA: decided here, once, for the whole project.

PyPI's torchaudio brings libraries that are linked against CUDA. Beside a CPU build of torch, or one for another major
version of CUDA, they cannot be loaded, `import torchaudio` raises OSError, and transformers, which imports torchaudio
wherever it is installed, dies with it: text and pictures included. Everything used here (features, resampling,
augmentation) is plain Python over torch, so nothing is lost by leaving the libraries out:

- in every process that imports this project, by itself, through `modalities/__init__.py`: `leave_out` registers an
  empty `torchaudio._extension` before the real one can be imported;
- in processes that know nothing of this project, once and for good, by `python -m modalities.fit_torchaudio`, which
  renames the libraries; torchaudio does without libraries that it does not find.

With a build of torch for the same CUDA, or without torchaudio, neither does anything.
"""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def unloadable() -> list[Path]:
    """The libraries of torchaudio that this torch cannot load: those linked against CUDA, where torch has none, or
    another major version of its runtime. Neither package is imported."""
    audio, torch = _folder("torchaudio"), _folder("torch")
    if audio is None or torch is None:
        return []
    own = [_cuda(library) for library in (torch / "lib").glob("*c10_cuda*")]
    return [
        library
        for library in sorted((audio / "lib").glob("*"))
        if library.suffix in (".so", ".pyd")
        and b"c10_cuda" in library.read_bytes()
        and not any(not versions or _cuda(library) <= versions for versions in own)
    ]


def _cuda(library: Path) -> set[bytes]:
    """Major versions of the CUDA runtime that a library asks for by name; empty where it names none."""
    return set(re.findall(rb"cudart(?:64_|\.so\.)(\d+)", library.read_bytes()))


def leave_out() -> None:
    """Make `import torchaudio` work in this process. Does nothing where it works by itself or is under way."""
    if "torchaudio" in sys.modules or not unloadable():
        return
    extension: Any = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
    extension.fail_if_no_align = _refuse
    sys.modules["torchaudio._extension"] = extension


def _refuse(function: Any) -> Any:
    def refused(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"torchaudio's {function.__name__} needs a torchaudio that was built for this torch.")

    return refused


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None
