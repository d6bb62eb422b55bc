"""Encoders: the shapes that leave them, whatever goes in, and the way through a folder and back."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextModel,
    PreTrainedModel,
    ResNetModel,
    ViTModel,
)

from modalities.vision.backbones import (
    ModelConfig,
    build_encoder,
    build_image_processor,
    feature_map,
    layers,
    normalise,
    plain_vit,
    pooled,
    width_of,
)

# kind: stock class, pixels for each place of the map, channels at the end, names of the layers
KINDS = {
    "resnet": (ResNetModel, 32, 64, ["stage 1", "stage 2", "stage 3", "stage 4"]),
    "convnext": (ConvNextModel, 16, 32, ["stage 1", "stage 2", "stage 3"]),
    "vit": (ViTModel, 8, 8, ["class token", "layer 1", "layer 2"]),
}


def encoder_of(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    depth = 2 if kind == "vit" else 1
    return build_encoder(ModelConfig(kind=kind, width=8, depth=depth, heads=2, image_size=32))  # type: ignore[arg-type]


def pixels(height: int = 32, width: int = 32, rows: int = 2) -> Tensor:
    return torch.randn(rows, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_of_maps_layers_and_pooled_features(kind: str) -> None:
    stock, stride, width, names = KINDS[kind]
    encoder = encoder_of(kind).eval()
    assert type(encoder) is stock and width_of(encoder) == width
    for height, across in ((32, 32), (64, 64), (32, 64)):  # the encoder's own size, another one, one that is not square
        found = feature_map(encoder, pixels(height, across))
        assert found.shape == (2, width, height // stride, across // stride)
        assert torch.equal(pooled(encoder, pixels(height, across)), found.mean((2, 3)))
        every = layers(encoder, pixels(height, across))
        assert list(every) == names and torch.allclose(every[names[-1]], found.mean((2, 3)), atol=1e-6)
        assert all(value.shape[0] == 2 and value.ndim == 2 for value in every.values())
        if kind == "vit":
            out = encoder(pixels(height, across), interpolate_pos_encoding=True).last_hidden_state
            assert torch.allclose(every["class token"], out[:, 0], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_places_of_the_map_are_those_of_the_image(kind: str) -> None:
    encoder = encoder_of(kind).double().eval()
    plain, marked = pixels(64, 96, rows=1).double(), pixels(64, 96, rows=1).double()
    marked[:, :, 32:, :32] += 5  # below on the left
    change = (feature_map(encoder, marked) - feature_map(encoder, plain)).abs().sum(1)[0]  # (h, w)
    h, w = change.shape
    below_left = change[h // 2 :, : w // 3].mean()
    assert below_left > 1.5 * change[: h // 2, w // 3 :].mean()
    assert below_left > 1.5 * change[h // 2 :, -(w // 3) :].mean()  # rows and columns are not swapped


@pytest.mark.parametrize("kind", KINDS)
def test_every_trainable_weight_has_a_gradient(kind: str) -> None:
    encoder = encoder_of(kind)
    feature_map(encoder, pixels()).square().mean().backward()
    assert [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_brings_the_encoder_back(kind: str, tmp_path: Path) -> None:
    encoder = encoder_of(kind).eval()
    encoder.save_pretrained(tmp_path)
    again = build_encoder(ModelConfig(start_from=str(tmp_path), image_size=32))
    assert again.training and type(again) is KINDS[kind][0]
    assert torch.equal(feature_map(again.eval(), pixels()), feature_map(encoder, pixels()))
    # No weight that the loss never reaches, such as a pooler that this folder does not hold.
    feature_map(again.train(), pixels()).square().mean().backward()
    assert [n for n, p in again.named_parameters() if p.requires_grad and p.grad is None] == []
    stock = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.equal(stock(pixels()).last_hidden_state, encoder(pixels()).last_hidden_state)
    assert not torch.equal(feature_map(encoder_of(kind).eval(), pixels() + 1e-3), feature_map(encoder, pixels()))


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    shape = CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    CLIPVisionModel(shape).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a clip_vision_model; give a ResNet, ViT or ConvNeXt"):
        build_encoder(ModelConfig(start_from=str(tmp_path)))


def test_a_vit_for_images_of_another_size_is_refused_at_once(tmp_path: Path) -> None:
    sizes = {kind: tmp_path / kind for kind in ("vit", "resnet")}
    for kind, folder in sizes.items():
        encoder_of(kind).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"images of 32 pixels but model\.image_size is 64; set model\.image_size 32"):
        build_encoder(ModelConfig(start_from=str(sizes["vit"]), image_size=64))
    build_encoder(ModelConfig(start_from=str(sizes["resnet"]), image_size=64))  # has no positions


@pytest.mark.parametrize("name", ["image_size", "width", "depth", "patch_size", "heads"])
def test_nothing_of_an_encoder_may_be_missing(name: str) -> None:
    with pytest.raises(ValueError, match=f"model.{name} 0 must be at least 1"):
        ModelConfig(kind="vit", **{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 60}, "model.image_size 60 is not a multiple of model.patch_size 8"),
        ({"width": 30}, "model.width 30 is not a multiple of model.heads 4"),
    ],
)
def test_impossible_shapes_are_refused(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ModelConfig(kind="vit", **options)  # type: ignore[arg-type]
    ModelConfig(kind="resnet", **options)  # type: ignore[arg-type]


def test_convnext_has_no_statistics_of_the_batch() -> None:
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in encoder_of("convnext").modules())
    together = pooled(encoder_of("convnext").double(), pixels(rows=4).double())
    alone = pooled(encoder_of("convnext").double(), pixels(rows=4)[:1].double())
    assert (together[:1] - alone).abs().max() < 1e-12
    resnet = encoder_of("resnet").double()  # the broken twin: batch norm
    together, alone = (pooled(resnet, pixels(64, 64, rows=4)[:rows].double()) for rows in (4, 1))
    assert (together[:1] - alone).abs().max() > 1e-3


def test_a_patch_of_sixteen_pixels_is_large_enough() -> None:
    assert feature_map(encoder_of("convnext"), pixels(16, 16)).shape == (2, 32, 1, 1)
    assert feature_map(encoder_of("resnet"), pixels(16, 16)).shape == (2, 64, 1, 1)


def test_a_plain_vit_shares_weights_and_draws_none() -> None:
    encoder = encoder_of("vit")
    state = torch.get_rng_state()
    plain = plain_vit(encoder)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(feature_map(plain.eval(), pixels()), feature_map(encoder.eval(), pixels()))
    with torch.no_grad():
        encoder.layers[0].mlp.fc1.weight.add_(1.0)
    assert torch.equal(feature_map(plain, pixels()), feature_map(encoder, pixels()))


def test_the_processor_and_normalise_agree() -> None:
    image = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = build_image_processor(ModelConfig(image_size=32))(image.numpy(), return_tensors="pt").pixel_values
    ours = normalise(image.permute(2, 0, 1)[None].float() / 255)
    assert (made - ours).abs().max() < 1e-5
    assert (made - ours / 2).abs().max() > 0.1
