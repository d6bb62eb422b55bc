"""Few labels, the choice of a layer, saliency, and the sheets and charts of the vision recipes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel

from evaluation.charts import heat_map, label_curve
from evaluation.few_labels import draw_per_class
from evaluation.layers import best_layer
from evaluation.plots import loss_curve, neighbour_sheet
from evaluation.sheets import panel_sheet, saliency_sheet
from modalities.vision.backbones import ModelConfig, build_encoder, pooled
from modalities.vision.published import as_auto_model
from modalities.vision.saliency import saliency
from modalities.vision.supervised import Classifier
from modalities.vision.views.pipeline import ViewConfig

LABELS = np.repeat(np.arange(5), [2, 10, 40, 100, 300])


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        assert path.stat().st_size < 400_000
        return picture.size


def test_a_share_of_the_labels_has_every_class_in_its_share() -> None:
    few, more, whole = (draw_per_class(LABELS, share, seed=1) for share in (0.01, 0.1, 1.0))
    assert np.bincount(LABELS[few]).tolist() == [1, 1, 1, 1, 3]
    assert np.bincount(LABELS[more]).tolist() == [1, 1, 4, 10, 30]
    assert set(few) < set(more) and (whole == np.arange(len(LABELS))).all()
    assert (draw_per_class(LABELS, 0.1, seed=1) == more).all() and (draw_per_class(LABELS, 0.1, seed=2) != more).any()
    plain = np.random.default_rng(1).permutation(len(LABELS))[: len(few)]  # the broken twin: classes are lost
    assert len(set(LABELS[plain])) < 5
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            draw_per_class(LABELS, share)


def test_the_best_layer_is_the_one_that_knows_the_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 25)
    noise, signal = rng.normal(size=(100, 6)), rng.normal(size=(100, 6)) + 3 * np.eye(4, 6)[labels]
    assert best_layer({"a": noise, "b": signal, "c": noise[::-1]}, labels) == "b"
    assert best_layer({"a": signal, "b": signal.copy()}, labels) == "b"  # of equals the last
    assert best_layer({"a": noise}, labels) == "a"
    with pytest.raises(ValueError, match="no layers"):
        best_layer({}, labels)


def test_saliency_is_where_the_features_come_from() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(width=8, image_size=32)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    found = saliency(encoder, pixels)
    assert found.shape == (2, 8, 8) and (found >= 0).all() and torch.equal(found, saliency(encoder, pixels))
    # A model that is blind on the right has nothing to show there.
    original = encoder.forward
    encoder.forward = lambda x, **more: original(torch.cat([x[..., :16], torch.zeros_like(x[..., 16:])], 3), **more)
    blind = saliency(encoder, pixels)
    assert (blind[..., 4:] == 0).all() and (blind[..., :4] > 0).all() and (found[..., 4:] > 0).any()
    assert all(weight.grad is None for weight in encoder.parameters()) and pooled(encoder, pixels).shape == (2, 64)


def test_panel_sheet(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((3, 32, 32, 3))
    columns = {"what goes in": images, "a question": ["answer: $1\nguessed: $2"] * 3, "two wide": images.repeat(2, 2)}
    panel_sheet(columns, tmp_path / "new" / "a.png", credit="noise")
    width, height = size_of(tmp_path / "new" / "a.png")
    panel_sheet({"what goes in": images[:1]}, tmp_path / "b.png")
    assert size_of(tmp_path / "b.png") < (width, height)
    for wrong in ({}, {"a": images, "b": ["x"]}, {"a": images[:0]}):
        with pytest.raises(ValueError, match="panel_sheet"):
            panel_sheet(wrong, tmp_path / "c.png")


def test_saliency_sheet(tmp_path: Path) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    maps = np.random.default_rng(1).random((4, 8, 8))
    saliency_sheet(images, {"before": maps, "after": np.zeros((4, 16, 16))}, tmp_path / "a.png")
    assert min(size_of(tmp_path / "a.png")) > 300
    with pytest.raises(ValueError, match="4 images and 3 maps of 'after'"):
        saliency_sheet(images, {"after": maps[:3]}, tmp_path / "a.png")


def test_neighbours_of_images(tmp_path: Path) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8))
    neighbour_sheet(images[:3], [images[3:6], images[6:9], images[9:]], [[True, False, True]] * 3, tmp_path / "a.png")
    assert min(size_of(tmp_path / "a.png")) > 300


def test_label_curve_and_heat_map(tmp_path: Path) -> None:
    label_curve({"frozen": {17: [0.2, 0.3, 0.25], 170: [0.5]}, "fine-tuned": {17: 0.3, 170: 0.7}}, tmp_path / "a.png")
    assert size_of(tmp_path / "a.png") == (700, 400)
    with pytest.raises(ValueError, match="no point"):
        label_curve({"frozen": {}}, tmp_path / "a.png")
    heat_map([[0.1, 0.9], [0.5, -1.0]], ["random", "rotation"], ["narrow", "wide"], tmp_path / "b.png")
    assert min(size_of(tmp_path / "b.png")) > 150
    with pytest.raises(ValueError, match="1 rows"):
        heat_map([[0.1, 0.9], [0.5, -1.0]], ["random"], ["narrow", "wide"], tmp_path / "b.png")


def test_held_out_loss_stands_beside_the_training_loss(tmp_path: Path) -> None:
    lines = ['{"step": 1, "loss": 2.0}', '{"step": 2, "loss": 1.5}', '{"step": 2, "eval/loss": 1.7}']
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    loss_curve(tmp_path / "m.jsonl", tmp_path / "a.png", chance=1.9)
    assert size_of(tmp_path / "a.png") == (800, 380)  # no second panel
    (tmp_path / "m.jsonl").write_text("\n".join([*lines, '{"step": 2, "eval/accuracy": 0.7}']))
    loss_curve(tmp_path / "m.jsonl", tmp_path / "a.png")
    assert size_of(tmp_path / "a.png") == (800, 600)
    loss_curve(tmp_path / "m.jsonl", tmp_path / "b.png", asked="training images")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_auto_model_finds_every_weight_of_a_vit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(kind="vit", width=16, depth=2, heads=2, image_size=32)).eval()
    task = Classifier(encoder, ViewConfig(side=32), ["ant", "bee"]).eval()
    pixels = torch.randn(2, 3, 32, 32)
    wanted = encoder(pixels)
    task.save(tmp_path / "saved")
    encoder.save_pretrained(tmp_path / "bare")  # the broken twin: AutoModel draws a pooler
    missing = []
    for name in ("saved", "bare"):
        model, info = AutoModel.from_pretrained(tmp_path / name, output_loading_info=True)
        missing.append(len(info["missing_keys"]))
        found = model.eval()(pixels)
        assert torch.equal(found.last_hidden_state, wanted.last_hidden_state)
    assert missing == [0, 2]
    assert torch.equal(as_auto_model(encoder)(pixels).pooler_output, wanted.last_hidden_state[:, 0].tanh())
    convolutional = build_encoder(ModelConfig(width=8))
    assert as_auto_model(convolutional) is convolutional and encoder.pooler is None
