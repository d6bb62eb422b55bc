"""AMDIM: which vectors of one view meet which maps of the other."""

import pytest
import torch

from modalities.vision.joint.amdim import AMDIM, AMDIMConfig
from tests.reference.local_nce import local_nce
from tests.vision.joint.files import LARGE, RESNET, ROWS, TINY_VIEWS, VIT, pictures


def build(cfg: AMDIMConfig | None = None) -> AMDIM:
    torch.manual_seed(0)
    return AMDIM(RESNET, LARGE, cfg or AMDIMConfig(width=8, places=99)).double()


@torch.no_grad()
def test_the_loss_is_three_contrasts_in_both_directions() -> None:
    task = build()
    parts = task.embed(pictures())
    assert [tuple(part.shape[1:]) for part in parts] == 2 * [(8,), (8,), (16, 8), (64, 8)]
    views = [[part.tolist() for part in parts[:4]], [part.tolist() for part in parts[4:]]]
    total = 0.0
    for here, there in (views, views[::-1]):
        for source, maps in ((here[0], there[2]), (here[0], there[3]), (here[1], there[2])):
            loss, squares = local_nce(source, maps, 20.0)
            total += (loss + 0.04 * squares) / 2
    out = task(pictures())
    assert abs(float(out["loss"]) - total) < 1e-12 * total
    named = out["whole_to_coarse"] + out["whole_to_fine"] + out["place_to_coarse"] + out["penalty"]
    assert abs(float(named) - total) < 1e-12 * total
    same_view = task.loss_from(*parts[:2], *parts[6:], *parts[4:6], *parts[2:4])["loss"]
    assert abs(float(same_view) - total) > 1e-3  # the broken twin: a view is asked about its own maps


@torch.no_grad()
def test_a_place_is_one_of_the_coarse_map_and_drawn_from_the_seed() -> None:
    task, batch = build(), pictures()
    _, place, coarse, _ = task.embed(batch)[:4]
    where = (coarse == place[:, None]).all(-1)  # (n, p)
    assert (where.sum(1) == 1).all() and len(set(where.int().argmax(1).tolist())) > 2
    again = task.embed(batch)[1]
    assert torch.equal(again, place)
    row = {name: value[:1].expand(ROWS, *value.shape[1:]) for name, value in batch.items()}
    alike = task.embed(row)
    assert torch.equal(alike[1][0], alike[1][5])  # one seed, one place


def test_no_penalty_leaves_the_contrasts_alone() -> None:
    out = build(AMDIMConfig(width=8, penalty=0.0))(pictures())
    assert abs(out["loss"] - out["whole_to_coarse"] - out["whole_to_fine"] - out["place_to_coarse"]) < 1e-12


@torch.no_grad()
def test_of_a_large_map_drawn_places_take_part() -> None:
    task, few, batch = build(), build(AMDIMConfig(width=8, places=20)), pictures()
    assert [len(part[0]) for part in few.embed(batch)[2:4]] == [16, 20]
    maps = torch.arange(2 * ROWS * 64.0).view(2 * ROWS, 1, 8, 8)
    rows = few._places(maps, batch["seeds"], 66)[..., 0]  # (2n, 20)
    own = rows - 64 * torch.arange(2 * ROWS)[:, None]
    assert own.min() >= 0 and own.max() < 64 and all(len(set(row)) == 20 for row in own.tolist())
    assert not torch.equal(own[:ROWS], own[ROWS:])  # each view has its own
    assert torch.equal(task._places(maps, batch["seeds"], 66)[..., 0], maps.flatten(1))


def test_negatives_are_places_of_other_pictures() -> None:
    task = build()
    before = {name: value.clone() for name, value in task.state_dict().items()}
    assert (
        task.negatives(128) == 127 * 16
        and build(AMDIMConfig(width=8, places=3)).negatives(2) == 3
        and task.encoder.training
    )
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="maps of several sizes, which a ViTModel does not have"):
        AMDIM(VIT, TINY_VIEWS, AMDIMConfig())
    for wrong in ({"width": 0}, {"places": 0}, {"clip": 0.0}, {"penalty": -1.0}):
        with pytest.raises(ValueError, match=rf"task.{next(iter(wrong))}"):
            AMDIMConfig(**wrong)  # type: ignore[arg-type]
