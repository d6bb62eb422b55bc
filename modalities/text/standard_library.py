"""Functions of the Python standard library and what their docstrings say they do, in the form of CodeSearchNet
(Husain et al. 2019, arXiv 1909.09436). The files are parsed, never imported."""

import ast
import io
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from modalities.cells import identity
from modalities.text.rows import Rows

LICENCE = "other"
CREDIT = (
    f"The standard library of Python {sys.version_info.major}.{sys.version_info.minor} by the Python Software "
    "Foundation and its contributors (https://www.python.org), PSF-2.0."
)
SHORTEST_QUERY = 3  # words
SHORTEST_FUNCTION = 3  # lines, with the docstring
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(folder: Path | None = None) -> Rows:
    """One row per function or method that has a docstring: the docstring's first paragraph, and the code without it.
    A module is a document, and what two rows have in common is a row once."""
    return counted(folder)[0]


def counted(folder: Path | None = None) -> tuple[Rows, dict[str, int]]:
    """The functions, and how many were left out by cause. They depend on the version of Python."""
    root = folder or Path(sysconfig.get_paths()["stdlib"])
    found: list[tuple[str, str, int]] = []
    left: Counter[str] = Counter()
    seen: set[str] = set()
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        if _LEFT_OUT & set(name.parts) or name.stem.startswith("test_"):
            continue
        module = identity(name.as_posix().encode())
        for query, code, cause in _of_file(file):
            if not cause and (query in seen or code in seen):
                cause = "repeated"
            if cause:
                left[cause] += 1
                continue
            seen |= {query, code}
            found.append((query, code, module))
    if not found:
        raise ValueError(f"The standard-library data needs the sources of Python, and {root} has none: install them.")
    none: list[None] = [None] * len(found)
    rows = Rows(
        ids=np.arange(len(found), dtype=np.int64),
        texts=[[query, code] for query, code, _ in found],
        labels=list(none),
        scores=list(none),
        documents=np.array([module for _, _, module in found], dtype=np.int64),
    )
    return rows, dict(left)


def _of_file(file: Path) -> Iterator[tuple[str, str, str]]:
    """Query, code, and why not, of each function with a docstring; a file that does not parse is one cause."""
    try:
        with warnings.catch_warnings():  # of escapes that are none
            warnings.simplefilter("ignore")
            source = file.read_bytes().decode("utf-8")
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        yield "", "", "files that do not parse"
        return
    lines = _lines(source)
    for function in _functions(tree):
        documented = ast.get_docstring(function)
        if not documented:
            continue
        query = " ".join(documented.split("\n\n")[0].split())
        cause = _fault(function, query)
        yield query, "" if cause else _code(function, lines), cause


def _functions(node: ast.AST) -> Iterator[Function]:
    """Those of modules and classes, not those within functions: they are part of the code around them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child
        elif not isinstance(child, ast.expr):
            yield from _functions(child)


def _fault(function: Function, query: str) -> str:
    if function.name.startswith("__") and function.name.endswith("__"):
        return "special methods"
    if len(query.split()) < SHORTEST_QUERY:
        return "short docstrings"
    if _last(function) - function.lineno + 1 < SHORTEST_FUNCTION or len(function.body) < 2:
        return "short functions"
    docstring, statement = function.body[:2]
    if docstring.lineno == function.lineno or statement.lineno == _last(docstring):
        return "docstrings in a line of code"
    return ""


def _code(function: Function, lines: list[str]) -> str:
    """The function without its docstring, moved to the left."""
    docstring = function.body[0]
    above = lines[function.lineno - 1 : docstring.lineno - 1]
    below = "".join(lines[_last(docstring) : _last(function)]).lstrip("\n")
    kept = _lines(("".join(above) + below).rstrip())
    indent = function.col_offset  # textwrap.dedent stops at comments and strings that stand further left
    return "".join(line[indent:] if line[:indent].isspace() else line for line in kept)


def _lines(source: str) -> list[str]:
    """Lines as Python counts them: `str.splitlines` begins one at a form feed, too, and at U+2028 inside a string."""
    return io.StringIO(source, newline="").readlines()


def _last(node: ast.stmt) -> int:
    """Number of the last line."""
    assert node.end_lineno is not None
    return node.end_lineno
