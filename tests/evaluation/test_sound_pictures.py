"""Pictures of sounds: they are drawn from what is given, and refuse what cannot be drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.clip_map import clip_map
from evaluation.curves import layer_curve, perplexity, step_curves, use_chart
from evaluation.spectrograms import Panel, spans, spectrogram_sheet


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert min(image.size) > 150
        return np.asarray(image.convert("RGB"), dtype=float)


def test_marked_stretches_are_paler(tmp_path: Path) -> None:
    power = np.random.default_rng(0).normal(size=(50, 20)) - 5
    marked = np.zeros(25, dtype=bool)
    marked[5:10] = True
    for name, mark in (("plain", None), ("marked", marked)):
        spectrogram_sheet({"heard": [Panel(power, 0.5, mark)] * 2}, tmp_path / f"{name}.png")
    plain, paler = pixels(tmp_path / "plain.png"), pixels(tmp_path / "marked.png")
    changed = np.abs(plain - paler).max((0, 2)) > 20  # columns of the picture
    assert 0.1 < changed.mean() < 0.3 and (paler - plain)[:, changed].mean() > 5
    worded = [Panel(power, 0.5, None, [(0.0, 0.2, "a$b"), (0.2, 0.5, "_")])]
    spectrogram_sheet({"one": worded, "two": [Panel(power, 0.5)]}, tmp_path / "words.png", credit="somebody")
    assert pixels(tmp_path / "words.png").shape[1] > 600


def test_spans_are_runs() -> None:
    marked = np.array([True, True, False, True, False])
    assert spans(marked, 1.0) == [(0.0, 0.4), (pytest.approx(0.6), 0.8)]
    assert spans(np.zeros(4, dtype=bool), 1.0) == [] and spans(np.ones(4, dtype=bool), 2.0) == [(0.0, 2.0)]


def test_spectrograms_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one row per frame"):
        Panel(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="longer than 0"):
        Panel(np.zeros((3, 2)), 0.0)
    with pytest.raises(ValueError, match="same number each"):
        spectrogram_sheet({"a": [Panel(np.zeros((3, 2)), 1.0)], "b": []}, tmp_path / "x.png")


def test_a_map_draws_the_largest_groups(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    groups = ["bell"] * 10 + ["drum"] * 8 + ["rain"]
    features = {"before": draw.normal(size=(19, 5)), "after": draw.normal(size=(19, 7))}
    assert clip_map(features, groups, tmp_path / "map.png", most=2) == 18
    assert clip_map(features, groups, tmp_path / "all.png") == 19
    shown, other = pixels(tmp_path / "map.png"), pixels(tmp_path / "all.png")
    assert shown.std() > 1 and (shown.shape != other.shape or (shown != other).any())  # rain is on one alone
    with pytest.raises(ValueError, match="for 18 groups"):
        clip_map(features, groups[1:], tmp_path / "x.png")
    with pytest.raises(ValueError, match="1 recordings make no map"):
        clip_map(features, [f"{i}" for i in range(19)], tmp_path / "x.png", most=1)


def test_charts(tmp_path: Path) -> None:
    curves = {"random": {"conv": [0.2, 0.3], "layer 1": [0.3, 0.4]}, "this run": {"conv": 0.4, "layer 1": 0.5}}
    layer_curve(curves, {"MFCC": 0.45}, tmp_path / "layers.png")
    use_chart({"group 1": [5, 0, 3], "group 2": [1, 1, 1]}, tmp_path / "codes.png")
    lines = [{"step": 10, "loss": 1.0, "accuracy_1": 0.5, "accuracy_2": 0.25}, {"step": 20, "accuracy_1": 0.7},
             {"step": 25, "accuracy_1": None, "accuracy_2": None}]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 30, "acc')
    step_curves(tmp_path / "metrics.jsonl", "accuracy", tmp_path / "steps.png", {1: 0.6, 2: 0.2}, chance=0.1)
    assert all(pixels(tmp_path / f"{name}.png").std() > 1 for name in ("layers", "codes", "steps"))
    with pytest.raises(ValueError, match='no line holds "right_1"'):
        step_curves(tmp_path / "metrics.jsonl", "right", tmp_path / "x.png")
    with pytest.raises(ValueError, match="no layer to draw"):
        layer_curve({}, {}, tmp_path / "x.png")
    with pytest.raises(ValueError, match="counts of 'a'"):
        use_chart({"a": [0, 0]}, tmp_path / "x.png")


def test_perplexity() -> None:
    assert perplexity([1, 1, 1, 1]) == pytest.approx(4) and perplexity([7, 0, 0]) == 1
    assert perplexity([3, 1]) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
