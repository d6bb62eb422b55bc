"""Where sentences end, that nothing is lost, and which passages follow one another."""

import pytest

from modalities.text import lee
from modalities.text.rows import documents
from modalities.text.sentences import consecutive, passages, sentences


@pytest.mark.parametrize(
    "text",
    [
        "It rains.|Take this.",
        "Dr. Smith met Mr. J. R. R. Tolkien.|He left at 3.45 p.m. on Monday.",
        'He said "Stop!"|Then he went.|"Why?" she asked.|Nobody knew.',
        "It costs 2.50 dollars, e.g. Bread.|See fig. 3 and p. 17.|No. 5 won.",
        "In the U.S. Army they march.|He lives in the U.S.|The others do not.",
        "Wait... what?|He left...|Then came Elizabeth I.|She reigned.",
        "(It was late.)|All slept.|[Nobody woke.]|Morning came!",
        "one line\na second line.|A third",
        "これは文です。|次の文です。",
        "Is it?!|Yes.|2001 was a film.",
        "word",
    ],
)
def test_ends(text):
    wanted = [part for line in text.split("\n") for part in line.split("|")]
    assert sentences(text.replace("|", "" if "。" in text else " ")) == wanted


def test_nothing_is_lost():
    stories = [text for (text,) in lee.news().texts]
    for story in [*stories, "", "  ", "...", "a.b.c", '." A', "! ! !", "A.\n\n\nB"]:
        found = sentences(story)
        assert "".join("".join(found).split()) == "".join(story.split())
        assert all(sentence and sentence == sentence.strip() for sentence in found)
    assert 6 < len([one for story in stories for one in sentences(story)]) / len(stories) < 12


def test_passages_know_their_document():
    rows = documents(["One. Two three.\nFour!", "Five.", "", "Six. Seven."], [3, 1, 0, None])
    cut = passages(rows)
    assert [text for (text,) in cut.texts] == ["One.", "Two three.", "Four!", "Five.", "Six.", "Seven."]
    assert cut.documents.tolist() == [0, 0, 0, 1, 3, 3] and cut.labels == [3, 3, 3, 1, None, None]
    assert [text for (text,) in passages(rows, "paragraph").texts][:2] == ["One. Two three.", "Four!"]
    assert len(set(cut.ids)) == 6


def test_neighbours_stay_within_a_document():
    rows = documents(["A b. C d. E f.", "G h. I j.", "K l."])
    cut = passages(rows)
    pairs, triples = consecutive(cut, 2), consecutive(cut, 3)
    assert pairs.texts == [["A b.", "C d."], ["C d.", "E f."], ["G h.", "I j."]]
    assert triples.texts == [["A b.", "C d.", "E f."]] and pairs.documents.tolist() == [0, 0, 1]
    assert consecutive(cut, 4).texts == [] and consecutive(cut, 9).texts == []
    # Broken twin: numbers without a gap join the documents.
    closed = type(cut)(ids=cut.ids - cut.documents, texts=cut.texts, labels=cut.labels, scores=cut.scores)
    assert ["E f.", "G h."] in consecutive(closed, 2).texts
    # Nor do passages follow one another where a short one between them was left out, or the order is another.
    assert consecutive(passages(documents(["A b. Yes. E f."]), shortest=2), 2).texts == []
    assert consecutive(cut.select([1, 0, 3]), 2).texts == []
