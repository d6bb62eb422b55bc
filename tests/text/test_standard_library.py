"""Functions and their docstrings: neither holds the other, nothing is imported, and what is left out is counted."""

import ast
import email
import textwrap
from pathlib import Path

import pytest

from modalities.text.config import DataConfig
from modalities.text.sources import load
from modalities.text.standard_library import counted, functions

MODULE = '''
raise RuntimeError("imported")

@cached
def first(a, b):
    """Adds two numbers
    slowly.

    Not part of the query.
    """

    # slowly
    def inner():
        """Stays with its function."""
        return a
    return inner() + b

class C:
    async def second(self):
        "Says what it is."
        x = 1
        return x

    def __init__(self):
        """Makes one of them."""
        self.a = 1
        self.b = 2

    if True:
        def short(self):
            """Too short."""
            a = 1
            return a

def brief(): """Says it in a line."""; x = 1

def single(x):
    """Only a docstring and nothing more."""

def again(a, b):
    """Says what it is."""
    y = 2
    return y

def bare(a):
    return a
'''


@pytest.fixture
def library(tmp_path):
    (tmp_path / "test").mkdir()
    for name in ("a.py", "test/b.py", "test_c.py"):
        (tmp_path / name).write_text(MODULE)
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\n# \xe9\n")
    return tmp_path


def test_functions_and_what_is_left_out(library):
    rows, left = counted(library)
    inner = 'def inner():\n    """Stays with its function."""\n    return a\n'
    code = f"def first(a, b):\n    # slowly\n{textwrap.indent(inner, ' ' * 4)}    return inner() + b"
    assert rows.texts == [
        ["Adds two numbers slowly.", code],
        ["Says what it is.", "async def second(self):\n    x = 1\n    return x"],
    ]
    assert left == {
        "files that do not parse": 2, "special methods": 1, "short docstrings": 1, "short functions": 2, "repeated": 1
    }  # fmt: skip
    assert len(set(rows.documents)) == 1 and rows.labels == [None, None]


def test_lines_are_those_of_the_parser(tmp_path):
    above = 'X = "a\u2028b"\n\x0c\n\x0c# A page.\nY = 1\r\nZ = 2\rA = 3\n'
    body = 'def shown(a):\n    {}b = "c\u2028    d"\n    return a\n'
    (tmp_path / "m.py").write_bytes((above + body.format('"""Shows what it is given."""\n    ')).encode())
    rows, _ = counted(tmp_path)
    assert rows.texts == [["Shows what it is given.", body.format("").rstrip()]]


def test_a_package_of_the_library():
    rows, left = counted(Path(email.__file__).parent)
    assert len(rows) > 100 and left["special methods"] > 1
    assert len({query for query, _ in rows.texts}) == len({code for _, code in rows.texts}) == len(rows)
    for query, code in rows.texts:
        (function,) = ast.parse(code).body
        assert ast.get_docstring(function) is None and query not in " ".join(code.split()), code
        assert len(query.split()) >= 3


@pytest.mark.slow
def test_the_library_itself():
    data = load(DataConfig(source="standard-library"))
    assert data.roles == ["docstring", "code"] and "Python" in data.credit and len(data.train) > 3000
    assert not set(data.train.documents) & set(data.test.documents)
    assert data.counts["dropped"]["special methods"] > 100


def test_a_python_without_sources(tmp_path):
    with pytest.raises(ValueError, match="needs the sources of Python"):
        functions(tmp_path)
