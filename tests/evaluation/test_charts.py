"""Pictures of methods side by side and of what a run logged: that they are there, and of what."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.charts import method_dots, shift_curves
from evaluation.metric_panels import metric_panels


def pixels_of(path: Path) -> np.ndarray:
    assert path.stat().st_size < 400_000
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def test_everything_a_run_logged_has_a_panel(tmp_path: Path) -> None:
    log, picture = tmp_path / "metrics.jsonl", tmp_path / "health.png"
    lines = [{"step": step, "loss": 1 / step, "lr": 0.1, "std": 0.5, "ended": True} for step in range(1, 5)]
    lines += [{"step": 4, "eval/loss": 0.4, "eval/knn": 0.3, "note": "text"}]
    log.write_text("\n".join(map(json.dumps, lines)))
    assert metric_panels(log, picture) == ["loss", "knn", "std"]
    plain = pixels_of(picture)
    assert min(plain.shape[:2]) > 150
    with log.open("a") as file:
        file.write('\n12\n[1, 2]\nnull\n{"loss": 9}\n{"step": "five", "loss": 9}\n{"step": 5, "lo')
    assert metric_panels(log, picture) == ["loss", "knn", "std"] and (pixels_of(picture) == plain).all()
    with log.open("a") as file:  # the broken twin: what does count changes the picture
        file.write('\n{"step": 5, "loss": 9}')
    metric_panels(log, picture)
    assert not np.array_equal(pixels_of(picture), plain)
    log.write_text('{"step": 1, "lr": 0.1}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl: no line holds a number"):
        metric_panels(log, picture)


def test_methods_as_dots(tmp_path: Path) -> None:
    scores = {"kNN": {"one": 0.7, "two": [0.4, 0.5]}, "linear probe": {"one": 0.8}}
    bands, levels = {"kNN": {"one": [0.3, 0.5]}}, {"kNN": {"HOG": 0.6}}
    method_dots(scores, bands, levels, tmp_path / "a.png", credit="noise")
    method_dots(scores, {}, {}, tmp_path / "b.png", credit="noise")
    full, bare = pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "b.png")
    assert min(full.shape[:2]) > 150 and not np.array_equal(full, bare)
    with pytest.raises(ValueError, match="no method to draw"):
        method_dots({"kNN": {}}, bands, levels, tmp_path / "c.png")


def test_what_shifts_cost(tmp_path: Path) -> None:
    shares = {"this run": {"noise": [0.9, 0.7, 0.5], "blur": [0.9, 0.8, 0.8]}, "at random": {"noise": [0.5, 0.4, 0.3]}}
    with pytest.raises(KeyError):  # every row has every kind
        shift_curves(shares, tmp_path / "a.png")
    shares["at random"]["blur"] = [0.5, 0.5, 0.4]
    shift_curves(shares, tmp_path / "a.png", credit="noise")
    assert min(pixels_of(tmp_path / "a.png").shape[:2]) > 150
    with pytest.raises(ValueError, match="no shift to draw"):
        shift_curves({}, tmp_path / "a.png")
