"""Pairs of segments: nothing lost, half of them wrong, and wrong in the way that was asked for."""

import numpy as np
import pytest

from modalities.draws import mix
from modalities.text.masking import MaskConfig
from modalities.text.sentence_pairs import PairsCollate, Segments, cut
from tests.text.examples_bert import LENGTH, sentences, tokenizer

LINES = 4


def documents(count: int = 30) -> list[str]:
    return ["\n".join(sentences(LINES, seed=place)) for place in range(count)]


def segments() -> Segments:
    return cut(documents(), tokenizer(), LENGTH)


def plain(kind: str, rows: int = 400) -> tuple[Segments, dict[str, np.ndarray], list[int]]:
    """Pairs with next to nothing hidden, as arrays, and the index of each."""
    found = segments()
    places = [place % len(found) for place in range(rows)]
    collate = PairsCollate(found, tokenizer(), MaskConfig(share=1e-9), kind)  # type: ignore[arg-type]
    batch = collate([found[place] for place in places], mix(np.arange(rows, dtype=np.uint64)))
    return found, {name: tensor.numpy() for name, tensor in batch.items()}, places


def test_cutting_loses_nothing() -> None:
    texts = [*documents(3), " ".join(sentences(9)), "the cat", "", "\n\nthe old dog sees the cat\n\n"]
    found = cut(texts, tokenizer(), LENGTH)
    for number, text in enumerate(texts):
        of_it = np.flatnonzero(found.documents == number)
        joined = [token for place in of_it for token in found.segments[place]["input_ids"].tolist()]
        assert joined == tokenizer()(" ".join(text.split()), add_special_tokens=False)["input_ids"]
    assert max(len(segment["input_ids"]) for segment in found.segments) <= (LENGTH - 3) // 2
    assert found.alone == 1  # the empty text
    for segment in found.segments:
        assert (np.diff(segment["words"]) >= 0).all() and segment["words"].min() >= 0


def test_half_of_the_pairs_are_wrong_and_the_marks_are_in_place() -> None:
    found, batch, places = plain("nsp")
    wrong = batch["pair_labels"] == 1
    assert abs(wrong.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(wrong))
    first_of = {}
    for number, segment in enumerate(found.segments):
        first_of.setdefault(tuple(segment["input_ids"].tolist()), set()).add(int(found.documents[number]))
    for row, place in enumerate(places):
        ids, types = batch["input_ids"][row], batch["token_type_ids"][row]
        length = int(batch["attention_mask"][row].sum())
        ends = np.flatnonzero(ids[:length] == tokenizer().sep_token_id)
        assert ids[0] == tokenizer().cls_token_id and len(ends) == 2 and ends[1] == length - 1
        assert types[: ends[0] + 1].sum() == 0 and types[ends[0] + 1 : length].all() and types[length:].sum() == 0
        a, b = tuple(ids[1 : ends[0]].tolist()), tuple(ids[ends[0] + 1 : ends[1]].tolist())
        pair = found[place]
        assert a == tuple(pair["first"]["input_ids"].tolist())
        follows = b == tuple(pair["second"]["input_ids"].tolist())
        assert follows != wrong[row]
        assert not wrong[row] or first_of[b] - {pair["document"]}  # from another document


def test_every_segment_of_other_documents_can_be_drawn() -> None:
    found = segments()
    document = 7
    others = np.flatnonzero(found.documents != document)
    drawn = {id(found.of_another(document, (k + 0.5) / len(others))) for k in range(len(others))}
    assert drawn == {id(found.segments[place]) for place in others}


def test_swapped_segments() -> None:
    found, batch, places = plain("sop")
    for row, place in enumerate(places[:100]):
        ids = batch["input_ids"][row]
        middle = int(np.flatnonzero(ids == tokenizer().sep_token_id)[0])
        side = "second" if batch["pair_labels"][row] else "first"
        assert ids[1:middle].tolist() == found[place][side]["input_ids"].tolist()


def test_too_little_text() -> None:
    with pytest.raises(ValueError, match="fewer than two"):
        cut(["the cat sees the dog", "owl", ""], tokenizer(), LENGTH)
    with pytest.raises(ValueError, match=r"model.length 4"):
        cut(documents(), tokenizer(), 4)
