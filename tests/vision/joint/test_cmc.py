"""CMC: grey against colour, each blind to the other, and published as one network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, ResNetModel

from modalities.vision.backbones import normalise, pooled
from modalities.vision.colour_mixing import GREY, mix
from modalities.vision.joint.cmc import CMC, CMCConfig
from modalities.vision.joint.views import JointViews, colourful
from tests.vision.joint.examples_views import COLOURFUL
from tests.vision.joint.files import RESNET, ROWS, VIEWS, VIT, pictures


def build(cfg: CMCConfig | None = None) -> CMC:
    torch.manual_seed(0)
    return CMC(RESNET, COLOURFUL, cfg or CMCConfig(0.5, 16)).double()


@torch.no_grad()
def test_the_loss_is_the_mean_over_both_directions_and_crops() -> None:
    task = build()
    grey1, grey2, colour1, colour2 = (F.normalize(z, dim=1) for z in task.embed(pictures()))
    right = torch.arange(ROWS)
    by_hand = [
        F.cross_entropy(scores, right)
        for grey, colour in ((grey1, colour1), (grey2, colour2))
        for scores in (grey @ colour.T / 0.5, colour @ grey.T / 0.5)
    ]
    loss = task(pictures())["loss"]
    assert abs(loss - sum(by_hand) / 4) < 1e-12
    crossed = build(replace(task.cfg, same_crop=False))(pictures())["loss"]
    assert abs(crossed - loss) > 1e-3
    swapped = task.loss_from(grey1, grey2, colour2, colour1)["loss"]
    assert abs(crossed - swapped) < 1e-12


@torch.no_grad()
def test_each_half_is_blind_to_what_the_other_sees() -> None:
    task, pixels = build().eval(), normalise(torch.rand(4, 3, 40, 40, dtype=torch.float64))
    grey, colour = task.features(pixels).chunk(2, 1)
    without_colour, without_grey = task.features(mix(pixels, GREY)), task.features(pixels - mix(pixels, GREY))
    assert (without_colour.chunk(2, 1)[0] - grey).abs().max() < 1e-12
    assert (without_grey.chunk(2, 1)[1] - colour).abs().max() < 1e-12
    assert (without_grey.chunk(2, 1)[0] - grey).abs().max() > 1e-6
    assert (without_colour.chunk(2, 1)[1] - colour).abs().max() > 1e-6


@torch.no_grad()
def test_the_published_encoder_is_both_halves(tmp_path: Path) -> None:
    task = build()
    task(pictures())  # running statistics of the norms are no longer those they start with
    task.eval().save(tmp_path)
    stock = AutoModel.from_pretrained(tmp_path)
    pixels = normalise(torch.rand(4, 3, 40, 40, dtype=torch.float64))
    assert type(stock) is ResNetModel
    found, wanted = pooled(stock.double().eval(), pixels), task.features(pixels)
    assert found.shape == (4, 64) and (found - wanted).abs().max() < 1e-5  # the folder holds single precision
    assert (pooled(task.export(), pixels) - wanted).abs().max() < 1e-12
    assert (found.roll(32, 1) - wanted).abs().max() > 1e-3  # the broken twin: the halves in the other order


def test_it_says_how_many_negatives_there_are() -> None:
    assert build().negatives(128) == 127


def test_the_pictures_show_what_each_half_sees() -> None:
    for cfg in (CMCConfig(), CMCConfig(same_crop=False)):
        panels = build(cfg).illustrate(pictures())
        assert list(panels) == ["picture", "grey", "colours"]
        grey, colours = panels["grey"], panels["colours"]
        assert isinstance(grey, torch.Tensor) and isinstance(colours, torch.Tensor)
        assert torch.allclose(grey[:, 0], grey[:, 1]) and not torch.allclose(colours[:, 0], colours[:, 1])
        assert float(colours.min()) >= 0 and float(colours.max()) <= 1


def test_what_cannot_be_compared_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="CMC halves a new ResNet"):
        CMC(VIT, COLOURFUL, CMCConfig())
    with pytest.raises(ValueError, match=r"views.grey is 0.2, but CMC compares"):
        CMC(RESNET, VIEWS, CMCConfig())
    with pytest.raises(ValueError, match=r"task.temperature 0 must be above 0"):
        CMCConfig(temperature=0)
    with pytest.raises(ValueError, match=r"task.width 0"):
        CMCConfig(width=0)
    views = colourful(48)
    assert isinstance(views, JointViews) and views.first.side == 48 and views.first.grey == views.first.jitter == 0
