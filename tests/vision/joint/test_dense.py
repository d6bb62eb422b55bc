"""Dense contrast: which places of two views show the same point, and what is made of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.joint.dense import Dense, DenseConfig
from modalities.vision.joint.dense_pictures import as_colours, marked
from modalities.vision.joint.views import JointViews, overlapping
from modalities.vision.views.geometry import Geometry, grid_points
from modalities.vision.views.pipeline import ViewConfig, make_views
from tests.reference import pixel_contrast as reference
from tests.vision.joint.files import LARGE, ROWS, TINY_VIEWS, VIT, pictures

CROPS = JointViews(*(ViewConfig(side=32, min_area=0.3) for _ in range(3)))  # type: ignore[arg-type]
TINY = DenseConfig(cell=4, width=8, hidden=8, matches=8, others=12, near=4.0)


def build(cfg: DenseConfig = TINY, views: JointViews = TINY_VIEWS) -> Dense:
    torch.manual_seed(0)
    return Dense(VIT, views, cfg).double()


def ramps(side: int = 64) -> Batch:
    """Pictures whose red says the column and whose green says the row, 4 for each pixel."""
    at = 4 * torch.arange(side)
    red, green = at.expand(side, side), at[:, None].expand(side, side)
    picture = torch.stack([red, green, torch.zeros_like(red)]).to(torch.uint8)
    return {"images": picture.expand(ROWS, -1, -1, -1), "seeds": torch.arange(ROWS) * 7919 - 20_000}


def shown_points(batch: Batch, cfg: ViewConfig, stream: int) -> Tensor:
    """Where each pixel of a view lies in a picture of ramps, read off its colours: (n, side**2, 2) pixels, x first."""
    view = make_views(batch["images"], batch["seeds"], cfg, stream)
    return (view[:, :2] * 255 / 4 + 0.5).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("stream", [0, 1])
def test_geometry_is_that_of_the_views(stream: int) -> None:
    batch, cfg = ramps(), ViewConfig(side=64, min_area=0.3)  # enlarged, what is linear stays so
    geometry, points = Geometry(batch["seeds"], 64, 64, cfg, stream), grid_points(64, torch.device("cpu"))[None]
    wanted, found = geometry.to_picture(points), shown_points(batch, cfg, stream)
    inside = ((wanted > 1) & (wanted < 63)).all(-1)  # at the border there are no pixels to mix
    assert inside.float().mean() > 0.8
    assert (found - wanted)[inside].abs().max() < 1e-3
    assert 0 < int(geometry.flips.sum()) < ROWS
    geometry.flips = ~geometry.flips  # the broken twin
    assert (found - geometry.to_picture(points))[inside].abs().max() > 5


def test_the_way_to_the_picture_and_back() -> None:
    geometry = Geometry(ramps()["seeds"], 48, 64, ViewConfig(side=32, min_area=0.1), 3)
    points = torch.rand(ROWS, 7, 2, generator=torch.Generator().manual_seed(0))
    there = geometry.to_picture(points)
    assert (geometry.to_view(there) - points).abs().max() < 1e-5
    assert (there >= 0).all() and (there <= torch.tensor([64.0, 48.0])).all()


def test_drawn_matches_show_the_same_point_in_both_views() -> None:
    task, batch = build(replace(TINY, matches=30), CROPS), ramps()
    places, there, matched = task.drawn(batch)
    assert places.shape == matched.shape == (ROWS, 30) and matched.float().mean() > 0.5
    middles = grid_points(8, places.device)[places]  # (n, k, 2)

    def colours(stream: int, cfg: ViewConfig, points: Tensor) -> Tensor:
        view = make_views(batch["images"], batch["seeds"], cfg, stream)
        return F.grid_sample(view, 2 * points[:, None] - 1, align_corners=False, padding_mode="border")[:, :2, 0]

    one, other = colours(0, CROPS.first, middles), colours(1, CROPS.second, there)
    well = matched & ((there > 0.1) & (there < 0.9)).all(-1) & ((middles > 0.1) & (middles < 0.9)).all(-1)
    assert well.float().mean() > 0.3
    gap = (one - other).abs().amax(1)  # (n, k), of 1
    assert gap[well].max() < 0.01
    elsewhere = (one - colours(1, CROPS.second, there.roll(1, 1))).abs().amax(1)  # the broken twin
    assert elsewhere[well].max() > 0.1
    for row in places.tolist():
        assert len(set(row)) == 30


def parts(task: Dense, batch: Batch) -> tuple[Tensor, ...]:
    return tuple(part.detach() for part in task.embed(batch))


@pytest.mark.parametrize("form", ["margin", "info-nce"])
def test_the_loss_equals_the_loops(form: str) -> None:
    task, batch = build(replace(TINY, form=form)), pictures()  # type: ignore[arg-type]
    anchors, second, there, matched, seeds = parts(task, batch)
    anchors, second = F.normalize(anchors, dim=-1), F.normalize(second, dim=-1)
    middles = grid_points(4, anchors.device)
    near = torch.cdist(16 * there, 16 * middles.expand(ROWS, -1, -1)).double()
    positives = second[torch.arange(ROWS)[:, None], near.argmin(-1)]
    apart = (near > 4.0) & matched[:, :, None]
    u = uniform_on_device(seeds, 24, 65)
    strangers = torch.stack([
        torch.stack([second[(row + 1 + int(u[row, j] * 7)) % ROWS, int(u[row, 12 + j] * 16)] for j in range(12)])
        for row in range(ROWS)
    ])  # fmt: skip
    far = matched[:, :, None].expand(-1, -1, 12)
    out = task(batch)
    a, p, m = anchors.tolist(), positives.tolist(), matched.tolist()
    if form == "margin":
        found = {
            "match": reference.matches(a, p, m),
            "within": reference.non_matches(a, second.tolist(), apart.tolist(), 0.5),
            "across": reference.non_matches(a, strangers.tolist(), far.tolist(), 0.5),
        }
    else:
        others, all_apart = torch.cat([second, strangers], 1), torch.cat([apart, far], 2)
        found = {"nce": reference.pixel_nce(a, p, others.tolist(), m, all_apart.tolist(), 0.1)}
    for name, (total, count) in found.items():
        assert count and abs(float(out[name]) - total / count) < 1e-7, name  # the smallest squares are kept from 0
    assert abs(float(out["loss"].detach()) - sum(float(out[name]) for name in found)) < 1e-12
    picked = (anchors @ second.transpose(1, 2)).argmax(-1)
    right = (near.gather(2, picked[..., None])[..., 0] <= 4.0) & matched
    assert abs(float(out["accuracy"]) - float(right.sum() / matched.sum())) < 1e-6


def ideal(points: Tensor) -> Tensor:
    """Descriptors that are all of a point (..., 2) in pixels of its picture."""
    angles = points / 64
    return torch.cat([angles, (1.5 - angles.square().sum(-1, keepdim=True) / 2).clamp(min=0).sqrt()], -1).double()


def test_accuracy_tells_descriptors_of_points_from_any() -> None:
    task, batch = build(replace(TINY, matches=64, near=5.7), CROPS), ramps()
    places, there, matched = task.drawn(batch)
    one, other = task.geometries(batch)
    points = grid_points(8, places.device)[None]

    def accuracy(describe: Callable[[Tensor], Tensor]) -> float:
        first, second = describe(one.to_picture(points)), describe(other.to_picture(points))
        anchors = first[torch.arange(ROWS)[:, None], places]
        return float(task.loss_from(anchors, second, there, matched, batch["seeds"])["accuracy"])

    assert accuracy(ideal) > 0.95
    draw = torch.Generator().manual_seed(0)
    assert accuracy(lambda p: torch.randn(ROWS, 64, 16, generator=draw).double()) < 0.25
    assert accuracy(lambda p: ideal(p.flip(-1).roll(1, 0))) < 0.5  # descriptors of another picture's points


def test_places_that_the_other_view_does_not_show_teach_nothing() -> None:
    small = JointViews(*(ViewConfig(side=16, min_area=0.05, max_area=0.1) for _ in range(3)))  # type: ignore[arg-type]
    task, batch = build(replace(TINY, matches=16), small), pictures()
    anchors, second, there, matched, seeds = parts(task, batch)
    assert 0 < int(matched.sum()) < matched.numel() / 2
    loss = task.loss_from(anchors, second, there, matched, seeds)
    other = torch.where(matched[:, :, None], anchors, torch.ones_like(anchors))
    for name in ("loss", "accuracy", "match"):
        assert torch.equal(task.loss_from(other, second, there, matched, seeds)[name], loss[name])
    none = torch.zeros_like(matched)
    out = task.loss_from(anchors.requires_grad_(), second, there, none, seeds)
    assert float(out["loss"].detach()) == 0 and float(out["matched"]) == 0
    out["loss"].backward()
    assert not anchors.grad.any()


def test_the_pictures_show_matches_and_descriptors() -> None:
    task = build()
    panels = task.illustrate(pictures())
    assert list(panels) == ["first view", "the same points", "points found", "descriptors", "of the second view"]
    for panel in panels.values():
        assert isinstance(panel, Tensor) and panel.shape == (ROWS, 3, 16, 16)
        assert float(panel.min()) >= 0 and float(panel.max()) <= 1
    black = torch.zeros(1, 3, 9, 9)
    points = torch.tensor([[[0.5, 0.2], [0.99, 0.0]]])
    one = marked(black, points, torch.tensor([[True, False]]))
    assert one[0, :, 1, 4].tolist() == [1, 0, 0] and int((one > 0).sum()) == 9 and not black.any()
    both = marked(black, points, torch.tensor([[True, True]]))
    assert both[0, :, 0, 8].tolist() == [0, 1, 1]  # the second of two colours, kept inside the picture
    halves = torch.zeros(2, 5, 4, 4)
    halves[:, 3, :, 2:] = 1.0
    coloured = as_colours(halves, 8)
    assert coloured.shape == (2, 3, 8, 8) and (coloured[0, 0, :, :4] != coloured[0, 0, :, 4:]).all()
    assert as_colours(torch.ones(1, 2, 4, 4), 4).isfinite().all()


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"views.first.side 16 is not a multiple of task.cell 5"):
        build(replace(TINY, cell=5))
    with pytest.raises(ValueError, match=r"task.matches is 17, but a view has 16 places"):
        build(replace(TINY, matches=17))
    with pytest.raises(ValueError, match=r"views.policy_ops is 2"):
        build(TINY, replace(LARGE, second=replace(LARGE.second, policy_ops=2)))
    with pytest.raises(ValueError, match=r"task.form is 'triplet'"):
        DenseConfig(form="triplet")  # type: ignore[arg-type]
    for wrong in ({"cell": 0}, {"near": 0}, {"margin": 0}, {"temperature": 0}, {"others": 0}):
        with pytest.raises(ValueError, match=rf"task.{next(iter(wrong))}"):
            DenseConfig(**wrong)  # type: ignore[arg-type]
    assert build().negatives(128) == 15 + 12
    assert overlapping(48).second.min_area == 0.3
