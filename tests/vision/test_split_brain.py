"""Split-brain: two halves that are published as one, each blind to what it predicts."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, ResNetModel

from modalities.vision.backbones import ModelConfig, build_encoder, layers, normalise, pooled
from modalities.vision.block_diagonal import side_by_side
from modalities.vision.colour_mixing import CHROMA, GREY, LUMA, mix
from modalities.vision.split_brain import SplitBrain, SplitBrainConfig
from tests.vision.examples_colour import ROWS, TINY, TINY_VIT, VIEWS, pictures

RGB = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(model: ModelConfig = TINY) -> SplitBrain:
    torch.manual_seed(0)
    task = SplitBrain(model, VIEWS, SplitBrainConfig()).double()
    for norm in (m for m in task.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 2), norm.bias.data.uniform_(-1, 1)
    return task.eval()


def halves(task: SplitBrain) -> dict[str, Tensor]:
    """Features of each stage, those of the grey half before those of the colour half."""
    pixels = normalise(RGB)
    grey = layers(task.encoder["grey"], mix(pixels, LUMA))
    colour = layers(task.encoder["colour"], mix(pixels, CHROMA))
    return {name: torch.cat([grey[name], colour[name]], 1) for name in grey}


def worst(model: PreTrainedModel, wanted: dict[str, Tensor]) -> float:
    found = layers(model, normalise(RGB))
    assert found.keys() == wanted.keys()
    return max((found[name] - wanted[name]).abs().max().item() for name in wanted)


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_the_published_encoder_is_both_halves(depth: int, tmp_path: Path) -> None:
    task = build(dataclasses.replace(TINY, depth=depth))
    wanted = halves(task)
    assert worst(task.export(), wanted) < 1e-12
    swapped = side_by_side(task.encoder["grey"], LUMA, task.encoder["colour"], CHROMA[::-1])  # the broken twin
    assert worst(swapped, wanted) > 1e-3
    task.save(tmp_path)
    stock = AutoModel.from_pretrained(tmp_path)
    assert type(stock) is ResNetModel and type(stock.embedder.embedder.normalization) is torch.nn.BatchNorm2d
    assert worst(stock.double().eval(), wanted) < 1e-12
    assert pooled(stock, normalise(RGB)).shape == (4, 64)  # as wide as any ResNet of these options


def test_what_is_published_is_as_large_as_the_stock_model_and_can_be_trained_on() -> None:
    generator = torch.random.get_rng_state() if build() else None
    published = build().train().export()
    assert torch.equal(generator, torch.random.get_rng_state())
    stock = build_encoder(TINY)
    assert {n: p.shape for n, p in published.named_parameters()} == {n: p.shape for n, p in stock.named_parameters()}
    assert published.training and {type(m) for m in published.modules()} == {type(m) for m in stock.modules()}
    published(normalise(RGB)).pooler_output.sum().backward()
    assert all(p.grad is not None for p in published.parameters())


@torch.no_grad()
def test_each_half_is_blind_to_what_it_says() -> None:
    task, pixels = build(), normalise(RGB)
    colour, grey = task.answer(pixels)
    assert colour.shape == (4, 4, 4, 309) and grey.shape == (4, 4, 4, 50)
    without_colour, without_grey = mix(pixels, GREY), pixels - mix(pixels, GREY)
    assert (task.answer(without_colour)[0] - colour).abs().max() < 1e-12
    assert (task.answer(without_grey)[1] - grey).abs().max() < 1e-12
    assert (task.answer(without_grey)[0] - colour).abs().max() > 1e-6
    assert (task.answer(without_colour)[1] - grey).abs().max() > 1e-6


def test_the_loss_is_the_sum_of_both() -> None:
    out = build().train()(pictures())
    assert out["loss"].item() == pytest.approx((out["colour_loss"] + out["grey_loss"]).item(), abs=1e-12)
    assert 0 <= out["colour_accuracy"] <= 1 and 0 <= out["grey_accuracy"] <= 1


def test_black_and_white_are_the_ends_of_the_lightness() -> None:
    task = build()
    lightness = torch.tensor([0.0, 1.99, 2.0, 99.9, 100.0], dtype=torch.float64)
    assert task.levels_of(lightness).tolist() == [0, 0, 1, 49, 49]
    assert task.lightness_of(torch.eye(50)[None, None].double() * 1e4)[0, 0].tolist()[:2] == [1.0, 3.0]


def test_the_pictures_show_both_directions() -> None:
    task, batch = build(), pictures()
    panels = task.illustrate(batch)
    assert list(panels) == ["grey goes in", "colours come out", "colours go in", "grey comes out", "picture"]
    assert all(p.shape == (ROWS, 3, 32, 32) and p.min() >= 0 and p.max() <= 1 for p in panels.values())
    assert torch.equal(panels["picture"], task.view(batch))


def test_what_cannot_be_halved_is_refused_in_a_sentence() -> None:
    for model in (TINY_VIT, dataclasses.replace(TINY, start_from="folder")):
        with pytest.raises(ValueError, match="split-brain halves a new ResNet"):
            SplitBrain(model, VIEWS, SplitBrainConfig())
    with pytest.raises(ValueError, match=r"model.width 9 is odd"):
        SplitBrain(dataclasses.replace(TINY, width=9), VIEWS, SplitBrainConfig())
    with pytest.raises(ValueError, match=r"views.side 32 is not a multiple of task.cell 5"):
        SplitBrain(TINY, VIEWS, SplitBrainConfig(cell=5))
    with pytest.raises(ValueError, match="levels 1"):
        SplitBrainConfig(levels=1)
