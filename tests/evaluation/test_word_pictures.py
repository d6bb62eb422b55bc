"""Maps of words and of attention: they are drawn, readable, and refuse what they cannot show."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from evaluation.attention_map import attention_map
from evaluation.word_map import word_map


@pytest.fixture
def draw():
    return np.random.default_rng(0)


@pytest.fixture
def boxes(monkeypatch):
    """Extents of the words that stay on the map."""
    made = []
    annotate = Axes.annotate

    def recorded(axes, *args, **kwargs):
        made.append(annotate(axes, *args, **kwargs))
        return made[-1]

    monkeypatch.setattr(Axes, "annotate", recorded)
    return lambda: [text.get_window_extent() for text in made if text.axes is not None]


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_map_of_words(draw, tmp_path, boxes, method):
    words = [f"word{i}" for i in range(60)]
    groups = ["cats" if i % 2 else "$dogs$" for i in range(60)]
    vectors = draw.normal(size=(60, 8)) + np.array([[5.0], [-5]])[[i % 2 for i in range(60)]]
    shown = word_map(vectors, words, tmp_path / "a" / "map.png", groups, method, title="A map", credit="Nobody")
    picture = Image.open(tmp_path / "a" / "map.png").convert("RGB")
    assert picture.size == (900, 700) and len(picture.getcolors(1 << 20)) > 50
    drawn = boxes()
    assert 20 < shown == len(drawn) <= 60
    assert not any(one.overlaps(two) for i, one in enumerate(drawn) for two in drawn[:i])
    again = word_map(vectors, words, tmp_path / "again.png", groups, method, title="A map", credit="Nobody")
    assert again == shown and Image.open(tmp_path / "again.png").convert("RGB").tobytes() == picture.tobytes()


def test_where_there_is_no_room_the_first_words_stand(tmp_path):
    words = [f"word{i}" for i in range(50)]
    places = np.concatenate([np.ones((49, 2)), [[1.0, -1.0]]])
    assert 2 <= word_map(places, words, tmp_path / "map.png", method="pca") < 15
    assert word_map(np.eye(3), list("abc"), tmp_path / "three.png") == 3  # too few for t-SNE


def test_what_is_no_map(tmp_path):
    with pytest.raises(ValueError, match="3 vectors, 2 words"):
        word_map(np.eye(3), list("ab"), tmp_path / "map.png")
    with pytest.raises(ValueError, match="2 words make no map"):
        word_map(np.eye(2), list("ab"), tmp_path / "map.png")


@pytest.mark.parametrize("heads, size", [(1, 40), (4, 6), (6, 11)])
def test_attention(draw, tmp_path, heads, size):
    shares = draw.dirichlet(np.full(size, 0.3), (heads, size))
    attention_map(shares, [f"${i}" for i in range(size)], tmp_path / "map.png", title="Layer 1", credit="Nobody")
    first = np.asarray(Image.open(tmp_path / "map.png").convert("RGB"))
    assert first.shape[0] > 250 and (first < 100).any()
    attention_map(
        shares[:, ::-1], [f"${i}" for i in range(size)], tmp_path / "other.png", title="Layer 1", credit="Nobody"
    )
    other = np.asarray(Image.open(tmp_path / "other.png").convert("RGB"))
    assert first.shape == other.shape and (first != other).any()  # other rows, another picture


def test_what_is_no_attention(tmp_path):
    cases = {
        r"shape \(2, 3, 3\) is not that of 1 to 16 heads over 2 tokens": (np.full((2, 3, 3), 1 / 3), "ab"),
        r"shape \(17, 1, 1\)": (np.ones((17, 1, 1)), "a"),
        r"shape \(0, 1, 1\)": (np.ones((0, 1, 1)), "a"),
        r"do not sum to 1": (np.zeros((1, 2, 2)), "ab"),
    }
    for message, (shares, tokens) in cases.items():
        with pytest.raises(ValueError, match=message):
            attention_map(shares, list(tokens), tmp_path / "map.png")
