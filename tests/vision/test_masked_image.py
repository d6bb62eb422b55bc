"""Masked image modelling: what is hidden, what is predicted, and what is published."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, ViTForMaskedImageModeling, ViTModel

from modalities.vision.backbones import ModelConfig, feature_map
from modalities.vision.masked_image import MaskedImage, MaskedImageConfig
from modalities.vision.views.pipeline import ViewConfig
from tests.vision.examples_masked import SIDE, VIT, masked_image, pictures


@pytest.fixture
def task() -> MaskedImage:
    torch.manual_seed(0)
    return masked_image().double()


def test_the_loss_is_the_mean_error_of_masked_pixels(task: MaskedImage) -> None:
    batch = pictures(2)
    pixels, mask = task.pixels(batch), task.mask(batch)
    found = task.run(pixels, mask).reconstruction.detach()
    errors = [
        abs(float(found[n, c, y, x]) - float(pixels[n, c, y, x]))
        for n in range(2) for c in range(3) for y in range(SIDE) for x in range(SIDE)
        if mask[n, 0, y, x]
    ]  # fmt: skip
    loss = task(batch)["loss"].item()
    assert abs(loss - sum(errors) / len(errors)) < 1e-12
    assert abs((found - pixels).abs().mean().item() - loss) > 1e-4  # the broken twin: all pixels


def test_masks_are_squares_equally_many_in_each_row(task: MaskedImage) -> None:
    batch = pictures(64)
    mask = task.mask(batch)
    assert mask.shape == (64, 1, SIDE, SIDE)
    squares = mask.unflatten(2, (2, 16)).unflatten(4, (2, 16)).double().mean((3, 5))[:, 0]  # (n, 2, 2)
    assert set(squares.unique().tolist()) == {0.0, 1.0} and (squares.sum((1, 2)) == 2).all()
    assert len({tuple(row) for row in squares.flatten(1).tolist()}) == 6  # every choice of 2 out of 4
    alone = {name: value[7:8] for name, value in batch.items()}
    assert torch.equal(task.mask(alone), mask[7:8])


def test_the_prediction_does_not_see_what_is_masked(task: MaskedImage) -> None:
    batch = pictures(1)
    pixels, mask = task.pixels(batch).requires_grad_(), task.mask(batch)
    task.run(pixels, mask).reconstruction.square().sum().backward()
    grad = pixels.grad.abs().sum(1, keepdim=True)
    assert (grad[mask] == 0).all() and (grad[~mask] > 0).double().mean() > 0.99


def test_the_folder_holds_a_vit_and_the_whole_beside_it(task: MaskedImage, tmp_path: Path) -> None:
    batch, task = pictures(), task.float()
    task.save(tmp_path)
    found = AutoModel.from_pretrained(tmp_path).eval()
    pixels = task.pixels(batch)
    assert type(found) is ViTModel and found.embeddings.mask_token is None
    assert torch.equal(feature_map(found, pixels), feature_map(task.export().eval(), pixels))
    unmasked = task.encoder.vit.eval()(pixels).last_hidden_state
    assert torch.equal(found(pixels).last_hidden_state, unmasked)
    whole = ViTForMaskedImageModeling.from_pretrained(tmp_path / "pretraining")
    mask = task.mask(batch)[:, 0, ::8, ::8].flatten(1)
    assert torch.equal(whole(pixels, bool_masked_pos=mask).loss, task.encoder(pixels, bool_masked_pos=mask).loss)
    cfg = MaskedImageConfig(mask_size=16, masked=0.5)
    for source in (tmp_path / "pretraining", tmp_path):
        start = ModelConfig(start_from=str(source), image_size=SIDE)
        again = MaskedImage(start, ViewConfig(side=SIDE), cfg)
        assert torch.equal(again(batch)["loss"], task(batch)["loss"])
        with pytest.raises(ValueError, match=r"positions for images of 32 pixels .* set model.image_size 32"):
            MaskedImage(dataclasses.replace(start, image_size=64), ViewConfig(side=64), cfg)
    beside = tmp_path / "pretraining" / "model.safetensors"
    weights = load_file(beside)
    del weights["decoder.0.bias"]
    save_file(weights, beside, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks decoder\.0\.bias of a ViTForMaskedImageModeling; give an earlier run"):
        MaskedImage(start, ViewConfig(side=SIDE), cfg)
    shutil.rmtree(tmp_path / "pretraining")
    with pytest.raises(ValueError, match="holds no ViTForMaskedImageModeling, nor does a folder"):
        MaskedImage(start, ViewConfig(side=SIDE), cfg)


def test_pictures_hide_what_is_masked_and_show_the_rest_unchanged(task: MaskedImage) -> None:
    batch = pictures(3)
    view, left, predicted = task.illustrate(batch).values()
    mask = task.mask(batch).expand_as(view)
    assert (left[mask] == 0.5).all() and torch.equal(left[~mask], view[~mask])
    assert torch.equal(predicted[~mask], view[~mask]) and not torch.equal(predicted[mask], view[mask])
    assert predicted.min() >= 0 and predicted.max() <= 1


@pytest.mark.parametrize(
    ("model", "side", "cfg", "sentence"),
    [
        ({"kind": "convnext"}, SIDE, {}, "not of a convnext; set model.kind vit"),
        ({}, 64, {}, "positions for images of 32 pixels but views.side is 64; set views.side 32"),
        ({}, SIDE, {"mask_size": 12}, "task.mask_size 12 must be a multiple of the patch size 8 and divide"),
        ({}, SIDE, {"mask_size": 0}, "task.mask_size 0 must be a multiple"),
        ({}, SIDE, {"mask_size": 32}, "task.masked 0.6 of 1 squares masks none or all"),
        ({}, SIDE, {"masked": 0.0}, "task.masked is 0.0; it is a share"),
    ],
)
def test_impossible_settings_are_refused(
    model: dict[str, str], side: int, cfg: dict[str, float], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        MaskedImage(dataclasses.replace(VIT, **model), ViewConfig(side=side), MaskedImageConfig(**cfg))  # type: ignore
