"""Pictures: that they are there, whole, small and of the expected size. How they look is judged by eye."""

import json

import numpy as np
import pytest
from PIL import Image

from evaluation.plots import loss_curve, neighbour_sheet, similarity_matrix


def size_of(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        assert path.stat().st_size < 400_000
        return picture.size


@pytest.fixture
def photos():
    """60 smooth pictures with the grain of a camera."""
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, size=(5, 5, 3), dtype=np.uint8)) for _ in range(60)]
    smooth = np.stack([np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC)) for image in coarse])
    return list(np.clip(smooth + rng.normal(scale=3, size=smooth.shape), 0, 255).astype(np.uint8))


def write(path, entries, tail=""):
    path.write_text("\n".join(map(json.dumps, entries)) + "\n" + tail, encoding="utf-8")
    return path


def test_loss_curve(tmp_path):
    losses = [{"step": step, "loss": 5 / step, "lr": 1e-3} for step in range(1, 40)]
    losses[3]["loss"] = float("nan")
    path = tmp_path / "new" / "loss.png"
    loss_curve(write(tmp_path / "m.jsonl", losses), path, chance=np.log(256))
    assert size_of(path) == (800, 380)
    scored = [*losses, {"step": 20, "eval/text_to_image_r1": 0.2}, {"step": 40, "eval/text_to_image_r1": 0.3}]
    half_a_line = '{"step": 4'
    loss_curve(write(tmp_path / "m.jsonl", scored, half_a_line), path, title="costs $5 or $6", credit="x")
    assert size_of(path) == (800, 600)


def test_loss_curve_refuses_broken_logs(tmp_path):
    good = json.dumps({"step": 1, "loss": 1.0})
    broken = tmp_path / "m.jsonl"
    broken.write_text(f"{good}\nnot json\n{good}\n")
    with pytest.raises(ValueError, match=r"m\.jsonl: line 2 is not JSON"):
        loss_curve(broken, tmp_path / "x.png")
    with pytest.raises(ValueError, match='no line holds a "loss"'):
        loss_curve(write(broken, [{"step": 1, "lr": 1.0}]), tmp_path / "x.png")


def test_similarity_matrix(tmp_path, photos):
    path = tmp_path / "similarity.png"
    captions = ["a cup of coffee that costs $3 and $4, " * (1 + i % 3) for i in range(16)]
    cosine = np.random.default_rng(1).uniform(-1, 1, size=(700, 700))
    similarity_matrix(cosine[:16, :16], path, photos[:16], captions, title="pairs", credit="photos: noise")
    assert size_of(path) == (1230, 980)
    similarity_matrix(cosine[:3, :3], path)
    assert size_of(path) == (480, 420)
    similarity_matrix(cosine, path)
    assert size_of(path) == (710, 650)
    with pytest.raises(ValueError, match="not square"):
        similarity_matrix(cosine[:2], path)
    with pytest.raises(ValueError, match="2 captions for 3 pairs"):
        similarity_matrix(cosine[:3, :3], path, captions=captions[:2])


def test_neighbour_sheet(tmp_path, photos):
    path = tmp_path / "neighbours.png"
    queries = [f"query number {i} with quite some words to wrap around" for i in range(12)]
    images = [photos[5 * i : 5 * i + 5] for i in range(12)]
    correct = [[place == i % 6 for place in range(5)] for i in range(12)]
    neighbour_sheet(queries, images, correct, path, title="nearest", credit="noise")
    assert size_of(path) == (715, 1200)
    with pytest.raises(ValueError, match="12 queries, 11 rows of images"):
        neighbour_sheet(queries, images[1:], correct, path)
    with pytest.raises(ValueError, match="query 0 has 5 images but 4 marks"):
        neighbour_sheet(queries[:1], images[:1], [[True] * 4], path)
