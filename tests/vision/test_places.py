"""Attention of the class token, and segments: of the right places, the same everywhere, and nothing left changed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from modalities.pictures.rows import labelled_pixels, pixel_set
from modalities.vision.backbones import ModelConfig, build_encoder, feature_map
from modalities.vision.class_token import class_attention, whole
from modalities.vision.segments import place_features, segments
from recipes.place_pictures import draw_places

KINDS = {
    "vit": ModelConfig(kind="vit", width=16, depth=2, heads=2, patch_size=4, image_size=16),
    "resnet": ModelConfig(width=8),
    "convnext": ModelConfig(kind="convnext", width=8),
}


def encoder_of(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return build_encoder(KINDS[kind]).eval()


def halves(side: int) -> Tensor:
    """Dark pictures with a bright half: left, right, above."""
    pixels = torch.full((3, 3, side, side), -0.8)
    pixels[0, :, :, : side // 2] = pixels[1, :, :, side // 2 :] = pixels[2, :, : side // 2] = 0.8
    return pixels


def test_attention_is_that_of_the_softmax_over_all_tokens() -> None:
    encoder, pixels = encoder_of("vit"), halves(32)
    kind, before = encoder.config._attn_implementation, whole(encoder, pixels)
    found = class_attention(encoder, pixels)
    assert found is not None and found.shape == (3, 2, 8, 8)
    states = encoder(pixels, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states[-2]
    layer = encoder.layers[-1]
    normed = layer.layernorm_before(states)
    query, key = (f(normed).unflatten(2, (2, 8)) for f in (layer.attention.q_proj, layer.attention.k_proj))
    scores = torch.einsum("nhd,nthd->nht", query[:, 0], key) / 8**0.5
    wanted = scores.softmax(-1)[:, :, 1:].unflatten(2, (8, 8))
    assert torch.allclose(found, wanted, atol=1e-6)
    assert not torch.allclose(found, wanted.transpose(2, 3), atol=1e-6)  # the broken twin: rows for columns
    assert encoder.config._attn_implementation == kind and torch.equal(whole(encoder, pixels), before)


@pytest.mark.parametrize(("kind", "shape"), [("vit", (8, 8, 16)), ("resnet", (2, 2, 32)), ("convnext", (4, 4, 16))])
def test_features_of_places(kind: str, shape: tuple[int, ...]) -> None:
    encoder = encoder_of(kind)
    found = place_features(encoder, halves(32))
    assert found.shape[1:] == shape
    if kind == "vit":
        assert torch.equal(found.permute(0, 3, 1, 2), feature_map(encoder, halves(32)))


def test_segments_mean_the_same_in_all_pictures() -> None:
    encoder, pixels = encoder_of("vit"), halves(32)
    with torch.no_grad():
        encoder.embeddings.position_embeddings.zero_()
    found = segments(encoder, pixels, 2)
    bright = (pixels[:, 0, ::4, ::4] > 0).long()
    assert torch.equal(found, bright) or torch.equal(found, 1 - bright)
    assert torch.equal(found, segments(encoder, pixels, 2))
    many = segments(encoder, pixels + 0.1 * torch.randn(pixels.shape), 5)
    sizes = torch.bincount(many.flatten(), minlength=5)
    assert len(sizes) == 5 and (sizes > 0).all() and (sizes.diff() <= 0).all()
    with pytest.raises(ValueError, match=r"192 places cannot be cut into 193 segments; .*\.$"):
        segments(encoder, pixels, 193)


@pytest.mark.parametrize(("kind", "wanted"), [("vit", {"segments.png", "attention.png"}), ("resnet", {"segments.png"})])
def test_a_run_draws_what_its_encoder_has(tmp_path: Path, kind: str, wanted: set[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(4, 32, 32, 3), dtype=np.uint8)
    data = pixel_set("some", labelled_pixels(images, [0, 1, 0, 1]), ([0, 1], [2, 3]), ["a", "b"], "other", "me")
    found = draw_places(tmp_path, encoder_of(kind), encoder_of(kind), data.test, 64, "me")
    assert set(found) == wanted == {path.name for path in tmp_path.iterdir()}
