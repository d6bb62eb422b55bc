"""Tests of word vectors against hand-made cases, slow loops and gensim."""

import itertools

import numpy as np
import pytest
from gensim.models import KeyedVectors

from evaluation.analogies import analogy_accuracy
from evaluation.word_similarity import word_similarity
from evaluation.word_vectors import NamedVectors, nearest
from modalities.text import word_tests

SOME = ("family", "capital-world", "gram8-plural", "gram3-comparative")


@pytest.fixture(scope="module")
def sections():
    return {
        name: questions[:: len(questions) // 20] for name, questions in word_tests.analogies().items() if name in SOME
    }


@pytest.fixture(scope="module")
def words(sections):
    """Some words of the questions (others are unknown) and more, capitalised as they come, with twins of other case."""
    asked = sorted({word for questions in sections.values() for question in questions for word in question})
    return [word for i, word in enumerate(asked) if i % 7] + ["other", "more", "Father", "FATHER"]


@pytest.fixture(scope="module")
def arrays(words, sections):
    """d = b - a + c in part, with noise: some questions come out right, some wrong."""
    draw = np.random.default_rng(0)
    vector = {word.casefold(): draw.normal(size=12) for word in words}
    for questions in sections.values():
        for a, b, c, d in ([word.casefold() for word in question] for question in questions):
            if {a, b, c, d} <= set(vector):
                vector[d] = 0.8 * (vector[b] - vector[a] + vector[c]) + 0.9 * draw.normal(size=12)
    return np.array([vector[word.casefold()] * (1 + draw.random()) for word in words], dtype=np.float32)


@pytest.fixture(scope="module")
def keyed(words, arrays):
    found = KeyedVectors(arrays.shape[1])
    found.add_vectors(words, arrays)
    return found


@pytest.fixture(scope="module")
def questions_file(sections, tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "questions.txt"
    lines = [f": {name}\n" + "".join(" ".join(q) + "\n" for q in asked) for name, asked in sections.items()]
    path.write_text("".join(lines))
    return path


def slow(vectors: NamedVectors, questions, method: str) -> tuple[int, int]:
    """One question, one candidate at a time: how many are right, and how many were asked."""
    right = asked = 0
    for question in questions:
        places = [vectors.find(word) for word in question]
        if None in places:
            continue
        asked += 1
        a, b, c = (vectors.unit[place] for place in places[:3])
        best, score = None, -np.inf
        for i, x in enumerate(vectors.unit):
            add = x @ b - x @ a + x @ c
            mul = ((1 + x @ b) / 2) * ((1 + x @ c) / 2) / ((1 + x @ a) / 2 + 0.001)
            now = add if method == "add" else mul
            if i not in places[:3] and now > score:
                best, score = i, now
        right += best == places[3]
    return right, asked


@pytest.mark.parametrize("fold, method", list(itertools.product((True, False), ("add", "mul"))))
def test_analogies_one_at_a_time(words, arrays, sections, fold, method):
    vectors = NamedVectors.of(arrays, words, fold)
    found = analogy_accuracy(vectors, sections, method)
    total = np.zeros(2)
    for name, questions in sections.items():
        right, asked = slow(vectors, questions, method)
        assert found[name]["asked"] == asked and found[name]["coverage"] == asked / len(questions)
        assert found[name]["accuracy"] * asked == pytest.approx(right, abs=1e-9)
        total += right, asked
    assert found["total"]["accuracy"] == pytest.approx(total[0] / total[1]) and 0 < total[0] < total[1]
    syntactic = [found[name] for name in sections if name.startswith("gram")]
    assert found["syntactic"]["asked"] == sum(score["asked"] for score in syntactic)
    assert found["semantic"]["asked"] + found["syntactic"]["asked"] == found["total"]["asked"]


@pytest.mark.parametrize("fold", [True, False])
def test_analogies_as_gensim_has_them(words, arrays, keyed, sections, questions_file, fold):
    found = analogy_accuracy(NamedVectors.of(arrays, words, fold), sections)
    total, theirs = keyed.evaluate_word_analogies(str(questions_file), case_insensitive=fold)
    for section in theirs[:-1]:
        right, asked = len(section["correct"]), len(section["correct"]) + len(section["incorrect"])
        assert found[section["section"]]["asked"] == asked
        assert found[section["section"]]["accuracy"] * asked == pytest.approx(right, abs=1e-9)
    assert found["total"]["accuracy"] == pytest.approx(total)


def test_the_words_of_a_question_are_no_answers():
    vectors = NamedVectors.of(np.array([[1.0, 0], [1, 0.1], [0.1, 1], [0.2, 1], [0.3, 1]]), list("abcde"))
    scores = analogy_accuracy(vectors, {"s": [("a", "b", "c", "d"), ("a", "b", "c", "c")]})
    assert scores["s"]["accuracy"] == 0.5
    # Broken twin: with all words as candidates it is another.
    asked = vectors.unit[1] - vectors.unit[0] + vectors.unit[2]
    assert int(np.argmax(vectors.unit @ asked)) != 3


def test_constant_vectors_score_chance():
    words = [f"w{i}" for i in range(8)]
    for method in ("add", "mul"):
        scores = analogy_accuracy(NamedVectors.of(np.ones((8, 3)), words), {"s": [tuple(words[:4])]}, method)
        assert scores["total"]["accuracy"] == pytest.approx(1 / 5)
    empty = analogy_accuracy(NamedVectors.of(np.ones((8, 3)), words), {"gram": [("a", "b", "c", "d")]})
    assert np.isnan(empty["total"]["accuracy"]) and empty["total"] | {"accuracy": 0} == {
        "accuracy": 0, "coverage": 0.0, "asked": 0
    }  # fmt: skip


@pytest.mark.parametrize("name", ["wordsim353", "simlex999"])
def test_similarity_as_gensim_has_it(name, tmp_path):
    pairs = word_tests.judged_pairs(name)
    known = sorted({word.lower() for pair in pairs for word in pair[:2]})[::3]
    draw = np.random.default_rng(1).normal(size=(len(known), 6)).astype(np.float32)
    keyed = KeyedVectors(6)
    keyed.add_vectors(known, draw)
    found = word_similarity(NamedVectors.of(draw, known), pairs)
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{a}\t{b}\t{score}\n" for a, b, score in pairs))
    (r, _), rho, unknown = keyed.evaluate_word_pairs(str(path))
    assert found["spearman"] == pytest.approx(rho.statistic, abs=1e-6)
    assert found["pearson"] == pytest.approx(r, abs=1e-6)
    assert found["coverage"] == pytest.approx(1 - unknown / 100) and 0 < found["pairs"] < len(pairs)
    assert found["spearman"] != pytest.approx(found["pearson"], abs=1e-3)  # broken twin: the other correlation


def test_similarity_by_hand():
    vectors = NamedVectors.of(np.array([[2.0, 0], [1, 1], [0, 3], [-1, 0]]), ["A", "b", "c", "d"])
    pairs = [("a", "B", 5.0), ("a", "c", 3.0), ("a", "d", 1.0), ("a", "zebra", 9.0)]
    r = (2 + 2**0.5) / (8 * (1.5 - (1 - 0.5**0.5) ** 2 / 3)) ** 0.5  # of (sqrt 0.5, 0, -1) and (5, 3, 1)
    assert word_similarity(vectors, pairs) == {
        "spearman": pytest.approx(1), "pearson": pytest.approx(r, abs=1e-12), "coverage": 0.75, "pairs": 3
    }  # fmt: skip
    assert np.isnan(word_similarity(vectors, pairs[3:])["spearman"])
    constant = NamedVectors.of(np.ones((4, 2)), ["a", "b", "c", "d"])
    assert word_similarity(constant, pairs)["spearman"] == 0
    with pytest.raises(ValueError, match="no pairs to judge"):
        word_similarity(vectors, [])


def test_words_that_differ_in_case_are_one():
    array = np.array([[3.0, 4], [1, 0], [0, 0], [0, 1]])
    vectors = NamedVectors.of(array, ["The", "the", "straße", "STRASSE"])
    assert vectors.words == ["The", "straße"] and vectors.find("THE") == 0 and vectors.find("dog") is None
    assert vectors.unit.tolist() == [[0.6, 0.8], [0, 0]]
    apart = NamedVectors.of(array, ["The", "the", "straße", "STRASSE"], fold=False)
    assert len(apart.words) == 4 and apart.find("THE") is None
    with pytest.raises(ValueError, match="4 vectors but 1 words"):
        NamedVectors.of(array, ["a"])


def test_nearest(words, arrays, keyed):
    vectors = NamedVectors.of(arrays, words, fold=False)
    for word in words[:5]:
        found, theirs = nearest(vectors, word, 4), keyed.most_similar(word, topn=4)
        assert [name for name, _ in found] == [name for name, _ in theirs]
        assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in theirs], abs=1e-5)
    assert len(nearest(vectors, words[0], 10_000)) == len(words) - 1
    with pytest.raises(ValueError, match="'nowhere' has no vector"):
        nearest(vectors, "nowhere")
