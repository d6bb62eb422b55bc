"""Documents cut into sentences and paragraphs, and passages that follow one another."""

import re
from typing import Literal

import numpy as np

from modalities.text.rows import Rows

# Words after which a full stop does not end a sentence, whatever follows.
_TITLES = re.compile(
    "mr|mrs|ms|messrs|dr|prof|st|gen|col|lt|capt|sgt|maj|brig|cmdr|adm|rev|hon|gov|sen|rep|pres|supt|fr|vs|v|cf|viz|"
    r"e\.g|i\.e|al|ca|approx|ft|mt|vol|ed|eds|trans"
)
# Words after which it ends none where a number follows.
_COUNTED = re.compile("no|nos|pp|p|art|sec|fig|figs|ch|chap|vol|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec|c")
# After initials and the like (U.S., J. R. R.) only such words start a sentence.
_STARTS = re.compile(
    "the|a|an|he|she|it|its|they|we|i|you|this|that|these|those|there|in|on|at|as|after|before|when|while|if|but|and|"
    "however|although|since|for|from|by|his|her|their|our|my|what|who|some|many|most|both|each|another"
)
_END = re.compile(r"(?<=[^\s.!?])[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”’）]*")
_LAST_WORD = re.compile(r"[^\s\"'“‘(\[—–-]+$")
_NEXT_WORD = re.compile(r"\s*[\"'“‘(\[]*([^\s\"'”’)\],;:.!?]*)")
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])*", re.UNICODE)


def sentences(text: str) -> list[str]:
    """The sentences of a text, by rules for English; a line break always ends one.

    A full stop ends none after a title, between initials, within a number, or before a lower-case word. Nothing is
    lost: the sentences hold every character of the text but the space around them.
    """
    return [sentence for line in text.splitlines() for sentence in _of_line(line)]


def _of_line(line: str) -> list[str]:
    found, start = [], 0
    for end in _END.finditer(line):
        if _ends(line, end):
            found.append(line[start : end.end()].strip())
            start = end.end()
    rest = line[start:].strip()
    return [*found, rest] if rest else found


def _ends(line: str, end: "re.Match[str]") -> bool:
    if end[0][0] in "。！？":
        return True
    after = _NEXT_WORD.match(line, end.end())
    word = after[1] if after else ""
    if word[:1].islower():
        return False
    if end[0][0] != ".":
        return True
    if end[0].startswith("..."):
        return word[:1].isupper()
    last = _LAST_WORD.search(line, max(0, end.start() - 30), end.start())
    before = last[0] if last else ""
    if _TITLES.fullmatch(before.lower()) or (_COUNTED.fullmatch(before.lower()) and word[:1].isdigit()):
        return False
    initials = _INITIALS.fullmatch(before) and before != "I" and ("." in before or before.isupper())
    if initials and len(end[0]) == 1:
        return bool(_STARTS.fullmatch(word.lower()))
    return True


def passages(rows: Rows, unit: Literal["paragraph", "sentence"] = "sentence", shortest: int = 1) -> Rows:
    """The lines or the sentences of documents (rows of one text) of at least `shortest` words, in order.

    Each keeps the label of its document, and the document's id in `Rows.documents`. Passages are numbered in order, and
    a number is left out where a document ends or a passage was too short: what follows a passage has the next id.
    """
    ids, texts, places = [], [], []
    number = 0
    for place, row in enumerate(rows.texts):
        assert len(row) == 1, "passages are cut from rows of one text"
        for passage in row[0].splitlines() if unit == "paragraph" else sentences(row[0]):
            if passage.strip():
                if len(passage.split()) >= shortest:
                    ids.append(number)
                    texts.append([passage.strip()])
                    places.append(place)
                number += 1
        number += 1
    return Rows(
        ids=np.array(ids, dtype=np.int64),
        texts=texts,
        labels=[rows.labels[place] for place in places],
        scores=[rows.scores[place] for place in places],
        documents=rows.ids[np.array(places, dtype=np.int64)],
    )


def consecutive(rows: Rows, count: int) -> Rows:
    """Rows of `count` passages that follow one another in a document, one for every place where there are so many:
    2 for (this, next), 3 for (previous, this, next). `rows` are passages in order; the id is that of the first."""
    last = len(rows) - count + 1
    starts = [i for i in range(last) if rows.ids[i + count - 1] - rows.ids[i] == count - 1]
    chosen = rows.select(starts)
    texts = [[text for row in rows.texts[i : i + count] for text in row] for i in starts]
    return Rows(ids=chosen.ids, texts=texts, labels=chosen.labels, scores=chosen.scores, documents=chosen.documents)
