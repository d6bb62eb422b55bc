"""SimCLR: what its options change."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalities.vision.joint.simclr import SimCLR, SimCLRConfig
from objectives.contrastive import nt_xent
from tests.reference.hard_negatives import hard_nt_xent
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures


def tiny(**options: Any) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(VIT, TINY_VIEWS, SimCLRConfig(**{"width": 12, **options})).double().train()


def loss_of(task: SimCLR, z1: Tensor, z2: Tensor) -> float:
    return float(task.loss_from(z1, z2)["loss"].detach())


def test_hardness_and_prior_reach_the_loss() -> None:
    z1, z2 = (z.detach() for z in tiny().embed(pictures()))
    assert loss_of(tiny(), z1, z2) == float(nt_xent(z1, z2, 0.2))
    for options in ({"hardness": 0.5}, {"prior": 0.1}, {"hardness": 0.5, "prior": 0.05}):
        given = {"hardness": 0.0, "prior": 0.0, **options}
        by_hand = hard_nt_xent(z1.tolist(), z2.tolist(), 0.2, **given)
        assert abs(loss_of(tiny(**options), z1, z2) - by_hand) < 1e-12 * by_hand
        assert abs(loss_of(tiny(), z1, z2) - by_hand) > 1e-3  # the broken twin: options without effect


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_head_has_as_many_layers_as_asked_for(layers: int) -> None:
    task = tiny(layers=layers)
    assert sum(isinstance(module, nn.Linear) for module in task.head) == layers
    assert task.embed(pictures())[0].shape == (ROWS, 12)


def test_both_views_are_one_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen = tiny(), []
    honest = task.features
    monkeypatch.setattr(task, "features", lambda pixels: seen.append(len(pixels)) or honest(pixels))
    task(pictures())
    assert seen == [2 * ROWS]


def test_negatives() -> None:
    assert tiny().negatives(128) == 254


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"width": 0}, {"layers": 0}, {"hardness": -1.0},
                                   {"prior": 1.0}, {"prior": -0.1}])  # fmt: skip
def test_options_that_cannot_work_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(wrong))}"):
        SimCLRConfig(**wrong)
