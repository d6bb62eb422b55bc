"""The masked autoencoder: what is hidden, what is predicted, and what is published."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, ViTMAEConfig, ViTMAEForPreTraining, ViTMAEModel, ViTModel
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from modalities.vision.backbones import ModelConfig, feature_map
from modalities.vision.mae import MAE, MAEConfig
from modalities.vision.patches import sin_cos_positions
from modalities.vision.views.pipeline import ViewConfig
from tests.vision.examples_masked import SIDE, VIT, mae, pictures

PATCH, GRID = 8, 4


@pytest.fixture
def task() -> MAE:
    torch.manual_seed(0)
    return mae().double()


def trained(model: torch.nn.Module) -> set[str]:
    """Names of the weights that an optimizer would move."""
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def plain_pixels(rows: int = 2, side: int = SIDE) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(rows, 3, side, side, generator=draw, dtype=torch.float64)


def slow_loss(image: Tensor, predicted: Tensor, removed: Tensor, normalised: bool) -> float:
    """One image in loops: (3, h, w), (patches, pixels with channels last), (patches,)."""
    errors = []
    for place in range(GRID * GRID):
        if not removed[place]:
            continue
        top, left = place // GRID * PATCH, place % GRID * PATCH
        wanted = [float(image[c, top + y, left + x]) for y in range(PATCH) for x in range(PATCH) for c in range(3)]
        if normalised:
            mean = sum(wanted) / len(wanted)
            variance = sum((value - mean) ** 2 for value in wanted) / (len(wanted) - 1)
            wanted = [(value - mean) / (variance + 1e-6) ** 0.5 for value in wanted]
        errors += [(float(found) - value) ** 2 for found, value in zip(predicted[place], wanted, strict=True)]
    return sum(errors) / len(errors)


@pytest.mark.parametrize("normalised", [True, False])
def test_the_loss_is_that_of_the_removed_patches(normalised: bool) -> None:
    torch.manual_seed(0)
    task, batch = mae(normalised).double(), pictures(3)
    out = task.encoder(task.pixels(batch), noise=task.order(batch))
    slow = [
        slow_loss(image, predicted, mask, normalised)
        for image, predicted, mask in zip(task.pixels(batch), out.logits.tolist(), out.mask, strict=True)
    ]
    assert abs(task(batch)["loss"].item() - sum(slow) / 3) < 1e-12
    kept = [
        slow_loss(image, predicted, 1 - mask, normalised)  # the broken twin: the patches that were seen
        for image, predicted, mask in zip(task.pixels(batch), out.logits.tolist(), out.mask, strict=True)
    ]
    assert abs(task(batch)["loss"].item() - sum(kept) / 3) > 1e-3


def test_each_row_keeps_a_quarter_that_its_seed_decides(task: MAE) -> None:
    batch = pictures(64)
    removed = task.encoder.vit(task.pixels(batch), noise=task.order(batch)).mask.bool()
    assert (removed.sum(1) == 12).all()
    assert (removed.double().mean(0) - 0.75).abs().max() < 0.16  # 3 standard errors
    assert len({tuple(row) for row in removed.tolist()}) > 60
    alone = {name: value[5:6] for name, value in batch.items()}
    assert torch.equal(task.order(alone), task.order(batch)[5:6])


def test_the_prediction_does_not_see_what_was_removed(task: MAE) -> None:
    pixels, order = plain_pixels(1).requires_grad_(), torch.arange(16)[None]
    task.encoder(pixels, noise=order).logits.square().sum().backward()
    grad = pixels.grad.abs().sum(1)[0].unflatten(0, (GRID, PATCH)).unflatten(2, (GRID, PATCH)).sum((1, 3)).flatten()
    assert (grad[:4] > 0).all() and (grad[4:] == 0).all()


def test_positions_are_there_fixed_and_those_of_the_stock_model(task: MAE) -> None:
    for positions in (task.encoder.vit.embeddings.position_embeddings, task.encoder.decoder.decoder_pos_embed):
        assert not positions.requires_grad
        stock = build_2d_sinusoidal_position_embedding(GRID, GRID, positions.shape[-1], dtype=torch.float64)
        half = stock.shape[-1] // 2
        stock = torch.cat([stock[:, half:], stock[:, :half]], dim=1)  # published weights have columns before rows
        assert (positions[0, 1:] - stock).abs().max() < 1e-6 and (positions[0, 0] == 0).all()
    rows, columns = sin_cos_positions(3, 8).view(3, 3, 8).split(4, dim=2)[::-1]
    assert torch.equal(rows[:, 0], rows[:, 2]) and torch.equal(columns[0], columns[2])
    assert not torch.equal(rows[0], rows[2])


def test_the_exported_encoder_is_the_stock_one_with_nothing_removed(task: MAE) -> None:
    pixels = plain_pixels()
    exported = task.export().eval()
    assert type(exported) is ViTModel and exported.pooler is None
    whole = ViTMAEModel(ViTMAEConfig(**{**task.encoder.config.to_dict(), "mask_ratio": 0.0})).double().eval()
    whole.load_state_dict(task.encoder.vit.state_dict())
    wanted = whole(pixels, noise=torch.arange(16.0).expand(2, 16)).last_hidden_state
    assert (exported(pixels).last_hidden_state - wanted).abs().max() < 1e-12
    shuffled = whole(pixels, noise=torch.arange(16.0, 0, -1).expand(2, 16))
    order = shuffled.ids_restore[:, :, None].expand(-1, -1, wanted.shape[-1])
    restored = shuffled.last_hidden_state[:, 1:].gather(1, order)
    assert (exported(pixels).last_hidden_state[:, 1:] - restored).abs().max() < 1e-12
    # The broken twins: an order that is not undone, and the stock encoder as it is, which removes at random.
    assert (exported(pixels).last_hidden_state - shuffled.last_hidden_state).abs().max() > 1e-2
    twice = [task.encoder.vit.eval()(pixels).last_hidden_state for _ in range(2)]
    assert twice[0].shape[1] == 5 and not torch.equal(*twice)


def test_the_folder_holds_a_vit_and_the_whole_beside_it(task: MAE, tmp_path: Path) -> None:
    batch = pictures()
    task = task.float()
    task.save(tmp_path)
    found = AutoModel.from_pretrained(tmp_path).eval()
    assert type(found) is ViTModel
    pixels = plain_pixels().float()
    assert torch.equal(feature_map(found, pixels), feature_map(task.export().eval(), pixels))
    assert torch.equal(task.encode({"pixel_values": pixels}), feature_map(found, pixels).mean((2, 3)))
    whole = ViTMAEForPreTraining.from_pretrained(tmp_path / "pretraining")
    assert trained(whole) != trained(task.encoder)  # the stock class forgets that its positions are fixed
    assert torch.equal(whole(task.pixels(batch), noise=task.order(batch)).loss, task(batch)["loss"])
    for source in (tmp_path / "pretraining", tmp_path):
        start = ModelConfig(start_from=str(source), image_size=SIDE)
        again = MAE(start, ViewConfig(side=SIDE), MAEConfig())
        assert torch.equal(again(batch)["loss"], task(batch)["loss"]) and trained(again) == trained(task)
        with pytest.raises(ValueError, match=r"positions for images of 32 pixels .* set model.image_size 32"):
            MAE(dataclasses.replace(start, image_size=64), ViewConfig(side=64), MAEConfig())
    other = MAE(VIT, ViewConfig(side=SIDE), MAEConfig(decoder_width=32))  # the broken twin: new weights
    assert not torch.equal(other(batch)["loss"], task(batch)["loss"])
    shutil.rmtree(tmp_path / "pretraining")
    with pytest.raises(ValueError, match="holds no ViTMAEForPreTraining, nor does a folder pretraining in it"):
        MAE(start, ViewConfig(side=SIDE), MAEConfig())


def test_a_checkpoint_without_a_decoder_is_refused(task: MAE, tmp_path: Path) -> None:
    task.encoder.vit.save_pretrained(tmp_path)  # a ViTMAEModel
    with pytest.raises(ValueError, match="holds no ViTMAEForPreTraining, nor"):
        MAE(ModelConfig(start_from=str(tmp_path), image_size=SIDE), ViewConfig(side=SIDE), MAEConfig())


def test_pictures_hide_what_was_removed_and_show_the_rest_unchanged(task: MAE) -> None:
    batch = pictures(3)
    panels = task.illustrate(batch)
    assert list(panels) == ["picture", "what is left", "predicted"]
    view, left, predicted = panels.values()
    hidden = (left == 0.5).all(1, keepdim=True)
    assert abs(hidden.double().mean().item() - 0.75) < 0.01
    assert torch.equal(predicted[~hidden.expand_as(view)], view[~hidden.expand_as(view)])
    assert not torch.equal(predicted, view) and predicted.min() >= 0 and predicted.max() <= 1


@pytest.mark.parametrize(
    ("model", "side", "cfg", "sentence"),
    [
        ({"kind": "resnet"}, SIDE, {}, "model.kind is resnet; set model.kind vit"),
        ({}, 64, {}, "positions for images of 32 pixels but views.side is 64; set views.side 32"),
        ({}, SIDE, {"removed": 0.97}, "task.removed 0.97 leaves none of 16 patches"),
        ({}, SIDE, {"removed": 1.0}, "task.removed is 1.0; it is a share"),
        ({}, SIDE, {"decoder_width": 20}, "task.decoder_width 20 is not a multiple of 4 times task.decoder_heads 4"),
        ({}, SIDE, {"decoder_depth": 0}, "task.decoder_depth is 0"),
    ],
)
def test_impossible_settings_are_refused(
    model: dict[str, str], side: int, cfg: dict[str, float], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        MAE(dataclasses.replace(VIT, **model), ViewConfig(side=side), MAEConfig(**cfg))  # type: ignore[arg-type]
