"""The decoder's shapes, that rows do not meet in it, and what suits an encoder."""

import pytest
import torch
from torch import nn

from modalities.vision.backbones import ModelConfig, build_encoder, feature_map, normalise
from modalities.vision.batch_norm import GlobalBatchNorm2d
from modalities.vision.decoders import Decoder, as_image, decoder_for, map_shape

SHAPES = {
    "resnet": (ModelConfig(width=8), 64, (64, 2, 2)),
    "vit": (ModelConfig(kind="vit", width=8, image_size=64, heads=2), 64, (8, 8, 8)),
    "vit on larger views": (ModelConfig(kind="vit", width=8, image_size=32, heads=2), 48, (8, 6, 6)),
    "convnext": (ModelConfig(kind="convnext", width=8), 64, (32, 4, 4)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_maps_become_images_of_the_views_size(name: str) -> None:
    cfg, side, shape = SHAPES[name]
    encoder = build_encoder(cfg)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    assert map_shape(encoder, side) == shape and encoder.training
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    features = feature_map(encoder, torch.rand(3, 3, side, side))
    assert decoder_for(encoder, side, channels=5)(features).shape == (3, 5, side, side)


@pytest.mark.parametrize("factor", [2, 4, 32])
def test_the_factor_is_how_much_larger_the_image_is(factor: int) -> None:
    decoder = Decoder(24, 3, factor)
    out = decoder(torch.randn(2, 24, 3, 2))
    assert out.shape == (2, 3, 3 * factor, 2 * factor) and out.isfinite().all()
    with pytest.raises(AssertionError, match=f"the factor {factor + 1} is no power of two"):
        Decoder(24, 3, factor + 1)


def test_its_batch_norms_are_those_of_all_processes() -> None:
    norms = [module for module in Decoder(64, 3, 32).modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 4 and all(type(norm) is GlobalBatchNorm2d for norm in norms)


def test_how_bright_a_picture_is_can_be_told() -> None:
    """The broken twin is a decoder with group norms, which divide by what a row's features have in common."""
    torch.manual_seed(0)
    strength = torch.tensor([0.5, 1.0, 2.0, 4.0])[:, None, None, None]
    features = strength * torch.rand(1, 32, 2, 2).expand(4, -1, -1, -1)
    decoder, twin = Decoder(32, 3, 8).eval(), Decoder(32, 3, 8).eval()
    for place, module in enumerate(twin.layers):
        if isinstance(module, nn.BatchNorm2d):
            twin.layers[place] = nn.GroupNorm(1, module.num_features)
    assert decoder(features).std(0).mean() > 100 * twin(features).std(0).mean()


@pytest.mark.parametrize(
    ("cfg", "side"),
    [
        (ModelConfig(width=8), 62),
        (ModelConfig(width=8), 80),
        (ModelConfig(kind="vit", width=8, heads=2, image_size=60, patch_size=6), 60),
        (ModelConfig(kind="vit", width=8, heads=2, image_size=32, patch_size=1), 32),
    ],
)
def test_views_that_do_not_suit_the_encoder_are_refused(cfg: ModelConfig, side: int) -> None:
    with pytest.raises(ValueError, match=rf"views\.side is {side} and the encoder leaves \d+ x \d+ places"):
        decoder_for(build_encoder(cfg), side)


def test_what_is_shown_is_what_went_in() -> None:
    image = torch.rand(2, 3, 4, 4)
    assert torch.allclose(as_image(normalise(image)), image, rtol=0, atol=1e-6)
    assert as_image(torch.tensor([-3.0, 3.0])).tolist() == [0, 1]
