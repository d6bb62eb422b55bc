"""Colorization: what its encoder sees, what is published, and what its two losses prefer."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from modalities.vision.backbones import feature_map, normalise
from modalities.vision.colorization import Colorization, ColorizationConfig
from modalities.vision.colour_mixing import CHROMA, GREY, LUMA, fold, mix
from modalities.vision.lab import rgb_to_lab
from tests.vision.examples_colour import ROWS, TINY, TINY_VIT, VIEWS, pictures

RGB = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(cfg: ColorizationConfig | None = None, model: object = TINY) -> Colorization:
    torch.manual_seed(0)
    return Colorization(model, VIEWS, cfg or ColorizationConfig()).double()  # type: ignore[arg-type]


def apart(left: Tensor, right: Tensor) -> float:
    return (left - right).abs().max().item()


@pytest.mark.parametrize("model", [TINY, TINY_VIT], ids=["resnet", "vit"])
def test_the_published_encoder_sees_rgb_as_ours_sees_grey(model: object, tmp_path: Path) -> None:
    task = build(model=model).eval()
    for norm in (m for m in task.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)
    pixels, grey = normalise(RGB), normalise(mix(RGB, GREY))
    with torch.no_grad():
        wanted = feature_map(task.encoder, grey)
        assert apart(feature_map(task.export(), pixels), wanted) < 1e-12
        assert apart(feature_map(task.encoder, pixels), wanted) > 1e-3  # the broken twin: not folded
        task.save(tmp_path)
        stock = AutoModel.from_pretrained(tmp_path).double().eval()
        assert apart(feature_map(stock, pixels), wanted) < 1e-12


def test_exporting_leaves_the_task_as_it_is() -> None:
    """Autocast too, under which features may be asked for while training."""
    task = build().float()
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    generator = torch.random.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        published = task.export().state_dict()
    assert all(torch.equal(tensor, published[name]) for name, tensor in task.export().state_dict().items())
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())
    assert torch.equal(generator, torch.random.get_rng_state())


def test_luma_and_chroma_are_those_of_bt_601() -> None:
    weights = torch.tensor(LUMA + CHROMA)
    assert torch.allclose(weights.sum(1), torch.tensor([1.0, 0.0, 0.0]), atol=1e-7)
    primary = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # blue has the largest Cb, red the largest Cr
    assert torch.allclose((torch.tensor(CHROMA) * primary).sum(1), torch.tensor([0.5, 0.5]))
    # So values of -1 to 1 mix as values of 0 to 1 do, and a padded zero means middle grey before and after.
    for matrix in (GREY, CHROMA):
        mixed = normalise(mix(RGB, matrix)) if matrix is GREY else 2 * mix(RGB, matrix)
        assert apart(mix(normalise(RGB), matrix), mixed) < 1e-12


def test_a_folded_kernel_does_the_same() -> None:
    kernel = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = torch.nn.functional.conv2d(mix(RGB, CHROMA), kernel, padding=1)
    assert apart(torch.nn.functional.conv2d(RGB, fold(kernel, CHROMA), padding=1), wanted) < 1e-12
    assert apart(torch.nn.functional.conv2d(RGB, fold(kernel.flip(1), CHROMA), padding=1), wanted) > 1e-3


@pytest.mark.parametrize("loss", ["classification", "regression"])
def test_the_answer_depends_on_grey_alone(loss: str) -> None:
    task = build(ColorizationConfig(loss)).eval()  # type: ignore[arg-type]
    grey = mix(RGB, GREY)
    assert apart(task.answer(normalise(RGB)), task.answer(normalise(grey))) < 1e-12
    assert apart(task.answer(normalise(RGB)), task.answer(normalise(grey.flip(1) * 0.9))) > 1e-6


def test_the_target_is_the_mean_colour_of_each_cell() -> None:
    task = build(ColorizationConfig(cell=8))
    ab = task.colours(RGB)
    assert ab.shape == (4, 2, 4, 4)
    corner = RGB[1, :, 8:16, 24:32].mean((1, 2))
    assert apart(ab[1, :, 1, 3], rgb_to_lab(corner[None, :, None, None])[0, 1:, 0, 0]) < 1e-12


def test_the_prior_comes_from_the_images_that_it_is_given() -> None:
    task, images = build(), pictures()["images"]
    assert (task.bins.weights == 1).all()
    task.prepare(images)
    first = task.bins.weights.clone()
    lit = task.bins.encode(task.colours(images.double() / 255).movedim(1, -1).flatten(0, 2))[0][:, 0].unique()
    unlit = torch.ones(len(first), dtype=torch.bool).index_fill(0, lit, False)
    assert first[lit].min() < 1 < first[unlit].max()
    task.prepare(images.flip(1))
    assert apart(task.bins.weights, first) > 0.1
    build(ColorizationConfig("regression")).prepare(images)  # which has none


def best_answer(cfg: ColorizationConfig) -> list[float]:
    """ab that a task comes down to for a thing that is red six times of ten and else green."""
    task = build(cfg)
    ab = torch.tensor([[60.0, 30.0]] * 6 + [[-60.0, 30.0]] * 4, dtype=torch.float64)
    size = 2 if task.bins is None else len(task.bins)
    answer = torch.zeros(1, 1, 1, size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([answer], lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss_of(answer.expand(10, -1, -1, -1), ab)["loss"].backward()
        optimizer.step()
    return task.decoded(answer.detach())[0, :, 0, 0].tolist()


def test_regression_says_the_grey_between_and_classification_takes_a_side() -> None:
    """Why the paper predicts distributions: between red and green, squared error makes hardly any colour."""
    assert best_answer(ColorizationConfig("regression")) == pytest.approx([12, 30], abs=0.5)
    assert best_answer(ColorizationConfig(temperature=1.0)) == pytest.approx([12, 30], abs=2)  # the mean again
    assert best_answer(ColorizationConfig(temperature=0.1)) == pytest.approx([60, 30], abs=5)
    assert best_answer(ColorizationConfig())[0] > 20


def test_the_pictures_show_grey_answer_and_truth() -> None:
    for cfg in (ColorizationConfig(), ColorizationConfig("regression")):
        task, batch = build(cfg).eval(), pictures()
        panels = task.illustrate(batch)
        assert list(panels) == ["picture", "grey", "coloured"]
        assert all(p.shape == (ROWS, 3, 32, 32) and p.min() >= 0 and p.max() <= 1 for p in panels.values())
        assert apart(panels["grey"][:, 0], panels["grey"][:, 2]) < 1e-12
        assert apart(panels["picture"], task.view(batch)) == 0
        # What comes out has the lightness that went in, wherever sRGB can show that.
        inside = ((panels["coloured"] > 0) & (panels["coloured"] < 1)).all(1)
        lightness = [rgb_to_lab(panels[name])[:, 0][inside] for name in ("grey", "coloured")]
        assert inside.any() and apart(*lightness) < 1e-6


def test_impossible_options_are_refused_in_a_sentence() -> None:
    for wrong, says in (
        ({"uniform": 0.0}, "uniform 0.0"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"cell": 0}, "cell 0"),
    ):
        with pytest.raises(ValueError, match=says):
            ColorizationConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"views.side 32 is not a multiple of task.cell 5"):
        build(ColorizationConfig(cell=5))
