"""346 short recordings of instruments, voices and noises in 76 classes, which the package FoxDot carries, with a short
description of each class. Real sounds; read by path, for importing FoxDot would look for a sound server."""

import ast
import re
from pathlib import Path

import numpy as np

from modalities.audio.config import DataConfig
from modalities.audio.decode import decode, examine
from modalities.audio.rows import AudioSet, Rows, Sound, fingerprint
from modalities.cells import identity
from modalities.media import CorruptMedia
from modalities.packages import package_folder
from modalities.splits import split_each

LICENCE = "cc-by-sa-4.0"
CREDIT = "Sounds from FoxDot (Ryan Kirkbride and contributors), CC BY-SA 4.0."

_SYMBOLS = {"ampersand": "&", "asterix": "*", "at": "@", "bar": "|", "caret": "^", "colon": ":", "dollar": "$",
            "equals": "=", "exclamation": "!", "forwardslash": "/", "hash": "#", "hyphen": "-", "percent": "%",
            "plus": "+", "tilde": "~", "backslash": "\\"}  # fmt: skip


def read(config: DataConfig) -> AudioSet:
    """Every recording that is not silent, in memory at `config.rate`; texts are the class's description and the words
    of the file's name, where it has some. Of every class with two recordings or more at least one is held out. Equal
    files are on one side; takes of one instrument are alike, and may be on both."""
    folder = package_folder("FoxDot", "sounds")
    described = _descriptions(folder / "lib" / "Buffers.py")
    files = sorted(path for path in (folder / "snd").rglob("*") if path.suffix.lower() in (".wav", ".aif", ".aiff"))
    sounds: list[Sound] = []
    kept: list[Path] = []
    dropped: dict[str, list[int]] = {}
    for place, path in enumerate(files):
        try:
            examine(str(path), place)
        except CorruptMedia as error:
            dropped.setdefault(error.cause, []).append(place)
            continue
        sounds.append(Sound(decode(str(path), place, config.rate), config.rate))
        kept.append(path)
    symbols = [_class(path.relative_to(folder / "snd")) for path in kept]
    classes = sorted(set(symbols))
    labels = [classes.index(symbol) for symbol in symbols]
    ids = np.array([identity(path.read_bytes()) for path in kept], dtype=np.int64)
    texts = [
        [text for text in dict.fromkeys([described.get(symbol, symbol).lower(), _words(path)]) if text]
        for symbol, path in zip(symbols, kept, strict=True)
    ]
    none: list[None] = [None] * len(kept)
    rows = Rows(sounds, ids, texts, list(labels), list(none), list(none))
    sides = split_each(ids, np.array(labels), config.held_out, config.split_seed, "recordings")
    train, test = (rows.select(side) for side in sides)
    names = _names(classes, described)
    return AudioSet(
        name="sounds",
        train=train,
        test=test,
        classes=names,
        speakers=[],
        rate=config.rate,
        synthetic=False,
        licence=LICENCE,
        credit=CREDIT,
        fingerprint=fingerprint(train, test, names),
        counts={"rows": len(files), "dropped": {cause: len(places) for cause, places in dropped.items()},
                "classes": len(classes), "train": len(train), "test": len(test)},
        dropped=dropped,
    )  # fmt: skip


def _names(classes: list[str], described: dict[str, str]) -> list[str]:
    """What each class is called: its description, with its folder's symbol where another class has the same."""
    names = [described.get(symbol, symbol) for symbol in classes]
    return [
        f"{name} ({symbol})" if names.count(name) > 1 else name for name, symbol in zip(names, classes, strict=True)
    ]


def _descriptions(source: Path) -> dict[str, str]:
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DESCRIPTIONS":
            found: dict[str, str] = ast.literal_eval(node.value)
            return found
    raise ValueError(f"{source.name} of FoxDot has no DESCRIPTIONS: install foxdot 0.9.")


def _class(path: Path) -> str:
    """The key that stands for the recordings' folder: a letter (lower/upper case apart) or a symbol."""
    first, second = path.parts[:2]
    if first == "_":
        return _SYMBOLS.get(second, second)
    return first.upper() if second == "upper" else first


def _words(path: Path) -> str:
    return " ".join(re.findall(r"[a-z]+", path.stem.lower()))
