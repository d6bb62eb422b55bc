"""Markup to prose: what is left out, what stays, and that no input takes long."""

import pytest

from modalities.text import wikipedia
from modalities.text.markup import prose, without

TAIL = " and so on for more than eight words in all."


def one(markup: str) -> str:
    (found,) = prose(markup + TAIL)
    return found.removesuffix(TAIL)


@pytest.mark.parametrize(
    "markup, words",
    [
        ("A '''bold''' and ''slanted'' word", "A bold and slanted word"),
        ("A [[cat]], a [[Felis|wild cat]] and [[cat]]s", "A cat, a wild cat and cats"),
        ("Over[[File:x.jpg|thumb|A [[cat|tom]] and {{x}} [[dog]]]] it", "Over it"),
        ("An {{infobox|a={{b|c}}|d=[[e]]}}end", "An end"),
        ("Said<ref name=a>Who [[x]]</ref> he<ref name=b /> twice", "Said he twice"),
        ("A <!-- not <b>this --> word<br/>s &amp; x&nbsp;y", "A words & x y"),
        ("See [http://a.b/c the page], [//d.e] and [as it was]", "See the page, and [as it was]"),
        ("Achilles (; , Akhilleus, ), Alabama () and Alba ( {{ipa}}; x)", "Achilles (Akhilleus), Alabama and Alba (x)"),
        ("a < b and c > d", "a < b and c > d"),
        ("An open {{ bracket and [[ another", "An open bracket and another"),
        ("Sums <math>x < y</math> too", "Sums too"),
    ],
)  # fmt: skip
def test_markup(markup, words):
    assert one(markup) == words


def test_paragraphs():
    long = "one two three four five six seven eight"
    page = (
        f"{long}\n{long}\n\n== Heading of no less than eight words in all ==\n* {long}\n{{| \n| {long}\n|}}\n"
        f"short one\n\n{long} nine\n[[Category:{long}]]"
    )
    assert prose(page) == [f"{long} {long}", f"{long} nine"]


def test_spans_may_overlap():
    assert without("abcdefgh", [(1, 3), (2, 5), (2, 3), (6, 7)]) == "afh"
    assert without("abc", []) == "abc"


def test_hostile_markup_takes_no_longer_per_character():
    """A search that starts anew at each place would take minutes for one of these."""
    n = 20_000
    shapes = [
        "{{",
        "[[",
        "{|",
        "<ref",
        "<ref>",
        "<!--",
        "[http://",
        "(;",
        " ;",
        "''",
        "__A",
        "[[File:",
        "<",
        "[//a ",
        "|",
    ]
    pages = [shape * n for shape in shapes] + ["[//" + "a" * n, "[[" * n + "]]" * n, "{{" * n + "}}" * n]
    for page in pages:
        assert sum(map(len, prose(page))) <= len(page)
    assert prose("{{" * n + "x" + "}}" * n + "one two three four five six seven eight") == [
        "one two three four five six seven eight"
    ]


def test_the_articles_are_prose():
    rows, left = wikipedia.counted()
    text = "\n".join(article for (article,) in rows.texts)
    assert len(rows) == 103 and left == {"redirects": 100, "pages without prose": 3}
    assert 390_000 < len(text.split()) < 410_000
    assert not any(mark in text for mark in ("[[", "]]", "{{", "}}", "<ref", "&nbsp;", "'''", "(;", "()"))
    assert any(article.startswith("Anarchism is a political philosophy") for (article,) in rows.texts)
