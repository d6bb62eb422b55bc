"""Text files as tables: .txt, and .txt.gz and .txt.bz2 without unpacking them first.

Rows keep the bytes as they are: which of them are no UTF-8 is for the reader of a data set to count.
"""

import bz2
import glob
import gzip
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import datasets

Unit = Literal["file", "paragraph", "line"]

_OPEN: dict[str, Any] = {".txt": open, ".gz": gzip.open, ".bz2": bz2.open}
_MOST_UNPACKED = 1 << 30  # bytes of one .gz or .bz2: a few kilobytes of them may unpack to more than any memory holds
_FEATURES = datasets.Features(
    {
        "text": datasets.Value("large_binary"),
        "file": datasets.Value("string"),
        "folder": datasets.Value("string"),
        "start": datasets.Value("int64"),
    }
)


def text_files(source: str, split: str, others: set[str]) -> list[Path]:
    """The text files that `source` names, sorted: a file, a glob, or a folder of mostly text files, of which a
    sub-folder named `split` is taken alone. Empty where `source` is not. Raises ValueError where tables (files that end
    with one of `others`) are among such text files."""
    path = Path(source).expanduser()
    if not path.is_dir():
        files = sorted(Path(file).resolve() for file in glob.glob(str(path)))
        return files if files and all(map(_is_text, files)) else []
    files = sorted(file for file in path.rglob("*") if file.is_file())
    texts = [file for file in files if _is_text(file)]
    if len(texts) <= len(files) / 2:  # pictures with a README, say
        return []
    if tables := [file.relative_to(path).as_posix() for file in files if file.suffix.lower() in others]:
        raise ValueError(
            f"data.source={source!r} holds {len(texts)} .txt files and also {', '.join(tables[:3])}"
            f"{' ...' if len(tables) > 3 else ''}: name the files that are meant, as in {str(path / '*.txt')!r}."
        )
    parts = [file for file in texts if file.relative_to(path).parts[0] == split and file.parent != path]
    if not parts and split != "train":
        raise ValueError(f"data.source={source!r} has no sub-folder {split!r} with .txt files: name one that is there.")
    return parts or texts


def text_table(files: list[Path], unit: Unit, stream: bool) -> "datasets.Dataset | datasets.IterableDataset":
    """Rows of text (bytes), file (its name), folder (the name of what it lies in) and start (byte of the file)."""
    if stream:
        return datasets.IterableDataset.from_generator(
            text_rows, features=_FEATURES, gen_kwargs={"files": list(map(str, files)), "unit": unit}
        )
    rows = list(text_rows([str(file) for file in files], unit))
    return datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in _FEATURES}, features=_FEATURES)


def text_rows(files: list[str], unit: Unit) -> Iterator[dict[str, Any]]:
    """One row per file, per paragraph (blank lines lie between them) or per line that is not blank."""
    for name in files:
        file = Path(name)
        try:
            with _OPEN[file.suffix.lower()](file, "rb") as opened:
                for start, text in _pieces(opened, unit, -1 if file.suffix.lower() == ".txt" else _MOST_UNPACKED):
                    yield {"text": text, "file": file.name, "folder": file.parent.name, "start": start}
        except _TooLong as error:
            raise ValueError(f"{file} unpacks to more than {_MOST_UNPACKED:,} bytes: unpack it.") from error
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file} cannot be read: {error}.") from error


class _TooLong(Exception):
    """A packed file holds more than is read of one."""


def _pieces(opened: IO[bytes], unit: Unit, most: int) -> Iterator[tuple[int, bytes]]:
    """most: bytes of a packed file; -1 for a plain one, which is as long as one sees."""
    if unit == "file":
        text = opened.read(most + 1 if most >= 0 else -1)
        if 0 <= most < len(text):
            raise _TooLong
        yield 0, text
        return
    held: list[bytes] = []
    start = place = 0
    for line in opened if most < 0 else iter(partial(opened.readline, most + 1), b""):
        if 0 <= most < place + len(line):
            raise _TooLong
        if held and (unit == "line" or not line.strip()):
            yield start, b"".join(held).rstrip()
            held = []
        if line.strip():
            start = place if not held else start
            held.append(line)
        place += len(line)
    if held:
        yield start, b"".join(held).rstrip()


def _is_text(file: Path) -> bool:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    return suffixes[-1:] == [".txt"] or suffixes[-2:] in ([".txt", ".gz"], [".txt", ".bz2"])
