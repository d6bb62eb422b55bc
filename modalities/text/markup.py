"""Prose out of Wikipedia's markup, in time linear in its length whatever it holds."""

import html
import re
from collections.abc import Iterator

Span = tuple[int, int]

SHORTEST = 8  # words of a paragraph
_TAGS = "ref|math|gallery|timeline|source|syntaxhighlight|pre|table|code|score|imagemap"
_MEDIA = re.compile(r"\s*:?\s*(?:File|Image|Category|Media)\s*:", re.IGNORECASE)
# What templates leave in brackets: "(; , Akhilleus, )" of Achilles, or nothing.
_OPENED, _CLOSED, _EMPTY = re.compile(r"\([\s;,:]+"), re.compile(r"(?<![\s;,:])[\s;,:]+\)"), re.compile(r" ?\(\)")


def prose(markup: str) -> list[str]:
    """The paragraphs of an article: templates, tables, references, files, lists and headings left out, links by their
    words. Brackets that never close are left out alone, not with all that follows."""
    text = without(markup, _between(markup, "<!--", "-->"))
    text = without(text, _elements(text))
    text = without(text, _nested(text, "{{", "}}")).replace("{{", "").replace("}}", "")
    text = without(text, _nested(text, "{|", "|}"))
    text = without(text, _links(text)).replace("[[", "").replace("]]", "")
    text = re.sub(r"\[(?:https?:)?//[^\s\[\]]+(?: ([^\[\]\n]*))?\]", r"\1", text)
    text = html.unescape(re.sub(r"</?[a-zA-Z][^<>]*>|'''?|__[A-Z]+__", "", text))
    return [paragraph for paragraph in _paragraphs(text) if len(paragraph.split()) >= SHORTEST]


def without(text: str, spans: list[Span]) -> str:
    """`text` lacking what lies in any of the (start, end); they may overlap."""
    kept, at = [], 0
    for start, end in sorted(spans):
        if start > at:
            kept.append(text[at:start])
        at = max(at, end)
    return "".join([*kept, text[at:]])


def _paragraphs(text: str) -> Iterator[str]:
    """Lines that neither a blank line nor a list, table or heading parts are one."""
    held: list[str] = []
    for line in [*map(_tidied, text.split("\n")), ""]:
        if line and line[0] not in "=*#:;|{!" and "||" not in line:
            held.append(line)
        elif held:
            yield " ".join(held)
            held = []


def _tidied(line: str) -> str:
    line = _EMPTY.sub("", _CLOSED.sub(")", _OPENED.sub("(", " ".join(line.split()))))
    return re.sub(r" ([,;.:])(?= |$)", r"\1", line)


def _between(text: str, opening: str, closing: str) -> list[Span]:
    spans: list[Span] = []
    start = text.find(opening)
    while start >= 0 and (end := text.find(closing, start)) >= 0:
        spans.append((start, end + len(closing)))
        start = text.find(opening, end)
    return spans


def _elements(text: str) -> list[Span]:
    """<ref name="a">...</ref>, <ref/> and the like, from the first opening to the first closing tag of a name."""
    spans: list[Span] = []
    opened: dict[str, int] = {}
    for tag in re.finditer(rf"<(/?)({_TAGS})\b[^<>]*>", text, re.IGNORECASE):
        name = tag[2].lower()
        if tag[0].endswith("/>"):
            spans.append(tag.span())
        elif not tag[1]:
            opened.setdefault(name, tag.start())
        elif name in opened:
            spans.append((opened.pop(name), tag.end()))
    return spans


def _nested(text: str, opening: str, closing: str) -> list[Span]:
    """Every pair of brackets with what is in it."""
    spans: list[Span] = []
    open_at: list[int] = []
    for bracket in re.finditer(f"{re.escape(opening)}|{re.escape(closing)}", text):
        if bracket[0] == opening:
            open_at.append(bracket.start())
        elif open_at:
            spans.append((open_at.pop(), bracket.end()))
    return spans


def _links(text: str) -> list[Span]:
    """Of [[page|words]] all but the words, of [[page]] the brackets, of [[File:...]] all."""
    spans: list[Span] = []
    open_at: list[list[int]] = []  # where a link and its words start
    for mark in re.finditer(r"\[\[|\]\]|\|", text):
        if mark[0] == "[[":
            open_at.append([mark.start(), mark.end()])
        elif mark[0] == "|" and open_at:
            open_at[-1][1] = mark.end()
        elif mark[0] == "]]" and open_at:
            start, words = open_at.pop()
            if _MEDIA.match(text, start + 2):
                spans.append((start, mark.end()))
            else:
                spans += [(start, words), mark.span()]
    return spans
