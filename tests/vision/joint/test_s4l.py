"""S4L: what counts, and what does not, with few labels."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from modalities.task import Batch
from modalities.vision.joint.s4l import S4L, S4LConfig, all_turns
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures

LABELS = torch.tensor([0, -1, 1, 2, -1, 1, -1, -1])


def tiny(**options: Any) -> S4L:
    torch.manual_seed(0)
    return S4L(VIT, TINY_VIEWS, S4LConfig(**{"classes": 3, **options})).double().train()


def batch(labels: torch.Tensor = LABELS) -> Batch:
    return {**pictures(), "labels": labels}


def test_the_loss_is_by_hand() -> None:
    task = tiny(weight=0.7)
    classes, turns, *_ = task.embed(batch())
    label_losses, turn_losses = [], []
    for row, label in enumerate(LABELS.tolist()):
        for turn in range(4):
            turn_losses.append(-turns[row, turn].log_softmax(0)[turn])
            if label >= 0:
                label_losses.append(-classes[row, turn].log_softmax(0)[label])
    found, (label_loss, turn_loss) = task(batch()), (torch.stack(x).mean() for x in (label_losses, turn_losses))
    for name, value in (("label_loss", label_loss), ("turn_loss", turn_loss), ("loss", label_loss + 0.7 * turn_loss)):
        assert abs(float((found[name] - value).detach())) < 1e-12
    over_all_rows = label_loss * (LABELS >= 0).double().mean()  # the broken twin
    assert abs(float((found["label_loss"] - over_all_rows).detach())) > 0.1


def test_each_row_is_scored_in_each_of_its_turns() -> None:
    task = tiny()
    classes, turns, _, kept = task.embed(batch())
    views = task.view(batch())
    for turn in range(4):
        features = task.features(2 * views.rot90(turn, (2, 3)) - 1)
        assert torch.allclose(classes[:, turn], task.head(features), rtol=0, atol=1e-12)
        assert torch.allclose(turns[:, turn], task.turn(features), rtol=0, atol=1e-12)
        assert turn > 1 or torch.allclose(kept[:, turn], features, rtol=0, atol=1e-12)
    assert torch.equal(all_turns(views)[ROWS : 2 * ROWS], views.rot90(1, (2, 3)))


def test_without_labels_the_classes_stay_and_the_rest_learns() -> None:
    task = tiny()
    found = task(batch(torch.full((ROWS,), -1)))
    found["loss"].backward()
    assert float(found["label_loss"]) == 0.0 and float(found["loss"].detach()) == float(found["turn_loss"])
    assert task.head.weight.grad is not None and not task.head.weight.grad.any()
    assert task.turn.weight.grad is not None and task.turn.weight.grad.any()


def test_hidden_labels_change_nothing() -> None:
    hidden = torch.tensor([0, -7, 1, 2, -1, 1, -3, -1])
    assert torch.equal(tiny()(batch())["loss"], tiny()(batch(hidden))["loss"])
    seen = LABELS.clamp(min=0)
    assert not torch.equal(tiny()(batch())["loss"], tiny()(batch(seen))["loss"])


def test_logits_are_those_of_upright_pictures() -> None:
    task, pixels = tiny(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    assert torch.equal(task.logits(pixels), F.linear(task.features(pixels), task.head.weight, task.head.bias))


def test_it_says_how_well_it_is_and_what_it_sees() -> None:
    found = tiny()(batch())
    assert {"embedding_std", "alignment", "uniformity", "effective_rank"} <= found.keys()
    assert tiny().views_in_words(256) == "256 views of 16 px, each in 4 turns"


def test_the_picture_sheet_has_a_line_for_each_row() -> None:
    shown = tiny().illustrate(batch())
    assert shown["turned"].shape == (ROWS, 3, 16, 16) and len(shown["which turn?"]) == ROWS  # type: ignore[union-attr]
    assert torch.equal(shown["turned"][1], tiny().view(batch())[1].rot90(1, (1, 2)))  # type: ignore[index]


@pytest.mark.parametrize("wrong", [{"labels": 0.0}, {"labels": 1.5}, {"labelled_share": -0.1}, {"weight": -1.0},
                                   {"classes": -1}])  # fmt: skip
def test_options_that_cannot_work_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(wrong))}"):
        S4LConfig(**wrong)


def test_data_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task.classes is 0, but s4l learns from labels"):
        S4L(VIT, TINY_VIEWS, S4LConfig())
