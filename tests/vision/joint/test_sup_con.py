"""SupCon: who is whose positive, with and without labels."""

import pytest
import torch
from torch import Tensor

from modalities.vision.joint.sup_con import SupCon, SupConConfig, alone_without_label
from objectives.contrastive import nt_xent
from tests.reference.contrastive import sup_con
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures

LABELS = torch.tensor([0, 1, -1, 0, -1, 2, 1, 0])


def tiny() -> SupCon:
    torch.manual_seed(0)
    return SupCon(VIT, TINY_VIEWS, SupConConfig(width=12)).double().train()


def embedded() -> tuple[Tensor, Tensor]:
    z1, z2, _ = tiny().embed({**pictures(), "labels": LABELS})
    return z1.detach(), z2.detach()


def loss_of(z1: Tensor, z2: Tensor, labels: Tensor) -> float:
    return float(tiny().loss_from(z1, z2, labels)["loss"].detach())


def test_equals_the_loop_with_a_class_of_its_own_for_each_picture_without_label() -> None:
    z1, z2 = embedded()
    own = [100 + place if label < 0 else label for place, label in enumerate(LABELS.tolist())]
    truth = sup_con(z1.tolist() + z2.tolist(), own + own, 0.1)
    assert abs(loss_of(z1, z2, LABELS) - truth) < 1e-12 * truth
    one_class = sup_con(z1.tolist() + z2.tolist(), 2 * LABELS.tolist(), 0.1)  # the broken twin: -1 taken for a class
    assert abs(loss_of(z1, z2, LABELS) - one_class) > 1e-3


def test_without_any_label_it_is_simclr() -> None:
    z1, z2 = embedded()
    assert abs(loss_of(z1, z2, torch.full((ROWS,), -1)) - float(nt_xent(z1, z2, 0.1))) < 1e-12
    assert abs(loss_of(z1, z2, LABELS) - float(nt_xent(z1, z2, 0.1))) > 1e-3


def test_rows_without_label_are_told_apart_and_the_others_are_not() -> None:
    found = alone_without_label(LABELS)
    assert found[LABELS >= 0].tolist() == LABELS[LABELS >= 0].tolist()
    assert len(set(found[LABELS < 0].tolist()) - set(LABELS.tolist())) == int((LABELS < 0).sum())


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"width": 0}])
def test_options_that_cannot_work_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(wrong))}"):
        SupConConfig(**wrong)  # type: ignore[arg-type]
