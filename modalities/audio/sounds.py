"""346 short recordings of instruments, voices and noises in 76 classes, which the package FoxDot carries, with a short
description of each class. Real sounds; read by path, for importing FoxDot would look for a sound server."""

import ast
import re
from pathlib import Path

import numpy as np

from modalities.audio.config import DataConfig
from modalities.audio.rows import AudioSet, Rows, fingerprint
from modalities.cells import identity
from modalities.packages import package_folder

LICENCE = "cc-by-sa-4.0"
CREDIT = "Sounds from FoxDot (Ryan Kirkbride and contributors), CC BY-SA 4.0."

_SYMBOLS = {"ampersand": "&", "asterix": "*", "at": "@", "bar": "|", "caret": "^", "colon": ":", "dollar": "$",
            "equals": "=", "exclamation": "!", "forwardslash": "/", "hash": "#", "hyphen": "-", "percent": "%",
            "plus": "+", "tilde": "~", "backslash": "\\"}  # fmt: skip


def read(config: DataConfig) -> AudioSet:
    """Every recording; texts are the class's description and the words of the file's name. A share of every class with
    two recordings or more is held out, drawn by the recording."""
    folder = package_folder("FoxDot", "sounds")
    described = _descriptions(folder / "lib" / "Buffers.py")
    files = sorted(path for path in (folder / "snd").rglob("*") if path.suffix.lower() in (".wav", ".aif", ".aiff"))
    names = [_class(path.relative_to(folder / "snd"), described) for path in files]
    classes = sorted(set(names))
    ids = np.array([identity(path.read_bytes()) for path in files], dtype=np.int64)
    texts = [
        list(dict.fromkeys([described.get(name, name).lower(), _words(path)]))
        for name, path in zip(names, files, strict=True)
    ]
    rows = Rows(
        [str(path) for path in files],
        ids,
        texts,
        [classes.index(name) for name in names],
        [None] * len(files),
        [None] * len(files),
    )
    train, test = (rows.select(side) for side in _sides(rows, config))
    return AudioSet(
        name="sounds",
        train=train,
        test=test,
        classes=[described.get(name, name) for name in classes],
        speakers=[],
        rate=config.rate,
        synthetic=False,
        licence=LICENCE,
        credit=CREDIT,
        fingerprint=fingerprint(train, test, classes),
        counts={"rows": len(rows), "classes": len(classes), "train": len(train), "test": len(test)},
    )


def _sides(rows: Rows, config: DataConfig) -> tuple[list[int], list[int]]:
    order = np.random.default_rng(config.split_seed).permutation(len(rows))
    test = []
    for label in sorted({label for label in rows.labels if label is not None}):
        members = [int(i) for i in order if rows.labels[i] == label]
        test += members[: len(members) // 4]
    return sorted(set(range(len(rows))) - set(test)), sorted(test)


def _descriptions(source: Path) -> dict[str, str]:
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DESCRIPTIONS":
            found: dict[str, str] = ast.literal_eval(node.value)
            return found
    raise ValueError(f"{source.name} of FoxDot has no DESCRIPTIONS: install foxdot 0.9.")


def _class(path: Path, described: dict[str, str]) -> str:
    first, second = path.parts[:2]
    if first == "_":
        return _SYMBOLS.get(second, second)
    return first.upper() if second == "upper" else first


def _words(path: Path) -> str:
    return " ".join(re.findall(r"[a-z]+", path.stem.lower())) or path.parent.name
