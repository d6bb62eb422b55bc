"""Words, phrases, runs, blocks and trees, against loops or by hand."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from modalities.text.huffman import huffman
from modalities.text.phrases import find_phrases, join_phrases
from modalities.text.rows import documents
from modalities.text.vocabulary import VocabularyConfig, build_vocabulary, words_of
from modalities.text.word_blocks import Blocks, band, cut
from modalities.text.word_runs import RunsCollate, prepare_words, word_runs
from modalities.text.word_task import word_tokenizer


def test_words_are_cut_and_counted() -> None:
    assert words_of("Don't  stop: Ünder_score 42!") == ["don", "t", "stop", "ünder_score", "42"]
    assert words_of("Don't", lower=False) == ["Don", "t"]
    vocabulary = build_vocabulary([["b", "a", "a"], ["b", "c", "a"]], 2)
    assert vocabulary.words == ("a", "b") and vocabulary.counts.tolist() == [3, 2]
    assert vocabulary.encode(["c", "b", "a", "z"]).tolist() == [1, 0]


# Hindi with its vowel signs, an accent in two characters, Turkish, a final sigma, Arabic with marks, a fraction.
FOREIGN = "हिन्दी भाषा, cafe\u0301 CAFÉ İstanbul'da ΟΔΟΣ الطّوب 2½ km² naïve_x"


@pytest.mark.parametrize("lower", [False, True])
def test_the_tokenizer_knows_every_word_it_was_made_of(lower: bool) -> None:
    words = words_of(FOREIGN, lower)
    assert words[0] == "हिन्दी" and ("café" in words) and len(words) == 11
    vocabulary = build_vocabulary([words, words_of("plain ASCII_words 42", lower)], 1)
    tokenizer = word_tokenizer(vocabulary, lower)
    for text in (FOREIGN, "plain ASCII_words 42", "plain ASCII_words 42 " + FOREIGN):
        assert tokenizer(text)["input_ids"] == vocabulary.encode(words_of(text, lower)).tolist()
    assert re.findall(r"\w+", FOREIGN.lower() if lower else FOREIGN) != words  # the broken twin


def test_too_rare_words_are_an_error_of_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"Of 3 words only 0 occur words.min_count 2 times"):
        build_vocabulary([["a", "b", "c"]], 2)
    with pytest.raises(ValueError, match=r"words.run is 0"):
        VocabularyConfig(run=0)


def test_phrases_score_as_word2phrase_scores_them() -> None:
    text = ["new", "york"] * 8 + ["the", "new", "the", "york", "the"] * 2
    scores = find_phrases([text], 0.0, delta=1)
    pair = list(pairwise(text)).count(("new", "york"))
    by_hand = (pair - 1) / (text.count("new") * text.count("york")) * len(text)
    assert scores["new", "york"] == pytest.approx(by_hand, abs=1e-12)
    assert ("york", "the") not in find_phrases([text], 10.0, delta=1)
    assert join_phrases([text], 1, by_hand - 1e-9, delta=1)[0][:3] == ["new_york"] * 3
    assert join_phrases([text], 1, by_hand, delta=1)[0] == text  # must score above the threshold


def test_a_second_pass_finds_triples() -> None:
    text = [["new", "york", "times"], ["a"], ["b"]] * 20
    assert join_phrases(text, 1, 1.0)[0] == ["new_york", "times"]
    assert join_phrases(text, 2, 1.0)[0] == ["new_york_times"]


def test_runs_hold_every_word_that_is_known() -> None:
    texts = [" ".join(f"w{(i * i + t) % 7}" for i in range(size)) for t, size in enumerate((25, 3, 0, 20))]
    words, vocabulary, runs = prepare_words(documents(texts), VocabularyConfig(min_count=1, run=10))
    assert [len(run) for run in runs] == [10, 10, 5, 3, 10, 10] and runs.length == 10
    joined = [vocabulary.words[place] for run in runs for place in run]
    assert joined == [word for document in words for word in document]
    batch = RunsCollate(10)([runs[2], runs[0]], np.array([1, 2], dtype=np.uint64))
    assert batch["words"].shape == (2, 10) and batch["words"][0, 5:].eq(-1).all() and batch["words"][1].ge(0).all()
    short = word_runs([["w1"], ["unknown", "w2"]], vocabulary, 10)
    assert len(short) == 2 and short.length == 1  # rows are no wider than the longest


def test_huffman_codes_are_shortest_and_lead_to_one_word_each() -> None:
    nodes, turns = huffman(np.array([5, 9, 12, 13, 16, 45]))  # a textbook's example, whose lengths are 4 4 3 3 3 1
    assert (nodes >= 0).sum(1).tolist() == [4, 4, 3, 3, 3, 1]
    assert (nodes[:, 0] == 0).all() and nodes.max() == 4
    codes = ["".join(map(str, way[way >= 0])) for way in turns]
    assert not any(b.startswith(a) for a in codes for b in codes if a is not b)


def test_blocks_see_every_pair_within_a_window_once() -> None:
    draw = np.random.default_rng(0)
    words = torch.from_numpy(draw.integers(0, 50, (3, 30)))
    kept = torch.from_numpy(draw.random((3, 30)) < 0.7)
    kept[1], kept[2, 13:] = False, False
    windows = torch.from_numpy(draw.integers(1, 4, (3, 30)))
    blocks = cut(words, kept, windows, size=4, reach=3)
    wanted = []
    for row in range(3):
        stream = words[row][kept[row]].tolist()
        for i, word in enumerate(stream):
            near = range(max(0, i - int(windows[row, i])), min(len(stream), i + int(windows[row, i]) + 1))
            wanted += [(row, i, word, stream[j]) for j in near if j != i]
    assert pairs(blocks) == sorted(wanted)
    off = blocks._replace(windows=blocks.windows.roll(1, 1))  # the broken twin: each centre with another's window
    assert pairs(off) != sorted(wanted)


def pairs(blocks: Blocks) -> list[tuple[int, int, int, int]]:
    found = []
    for b, c, j in band(blocks).nonzero().tolist():
        row, place = int(blocks.row[b]), int(blocks.number[b]) * 4 + c
        found.append((row, place, int(blocks.around[b, c + 3]), int(blocks.around[b, j])))
    return sorted(found)
