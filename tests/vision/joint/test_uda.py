"""UDA: what counts with few labels, and which labels wait."""

from typing import Any

import pytest
import torch
from torch import Tensor

from modalities.task import Batch
from modalities.vision.joint.uda import UDA, UDAConfig
from tests.reference.consistency import consistency, softmax, withhold
from tests.vision.joint.examples_contrast import STRONG
from tests.vision.joint.files import ROWS, VIT, pictures

LABELS = torch.tensor([0, -1, 1, 2, -1, 1, -1, -1])
FEATURES = torch.randn(ROWS, 2, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def tiny(**options: Any) -> UDA:
    torch.manual_seed(0)
    return UDA(VIT, STRONG, UDAConfig(**{"classes": 3, **options})).double().train()


def batch(labels: Tensor = LABELS) -> Batch:
    return {**pictures(), "labels": labels}


def scores(seed: int) -> Tensor:
    return 2 * torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_is_by_hand() -> None:
    weak, strong = scores(0), scores(1)
    found = tiny(weight=0.7, confidence=0.6).loss_from(weak, strong, LABELS, FEATURES)
    guesses = [softmax(row) for row in weak.tolist()]
    known = [-torch.tensor(p[y]).log() for p, y in zip(guesses, LABELS.tolist(), strict=True) if y >= 0]
    label_loss, unlike = float(sum(known)) / 4, consistency(weak.tolist(), strong.tolist(), 0.4, 0.6)
    assert abs(float(found["label_loss"]) - label_loss) < 1e-6  # by way of single precision
    assert abs(float(found["consistency"]) - unlike) < 1e-12
    assert abs(float(found["loss"]) - float(found["label_loss"]) - 0.7 * unlike) < 1e-12
    right = [p.index(max(p)) == y for p, y in zip(guesses, LABELS.tolist(), strict=True) if y >= 0]
    assert float(found["accuracy"]) == sum(right) / 4
    assert float(found["confident"]) == sum(max(p) > 0.6 for p in guesses) / ROWS
    swapped = tiny(confidence=0.6).loss_from(strong, weak, LABELS, FEATURES)  # the broken twin: on strong views
    assert abs(float(swapped["label_loss"]) - label_loss) > 1e-3


def test_effective_number_of_guessed_classes() -> None:
    all_one = torch.tensor([50.0, 0.0, 0.0], dtype=torch.float64).expand(ROWS, 3)
    even = 50 * torch.eye(3, dtype=torch.float64)[torch.arange(ROWS) % 3]
    one, three = (float(tiny().loss_from(x, x, LABELS, FEATURES)["classes_guessed"]) for x in (all_one, even))
    assert abs(one - 1) < 1e-6 and 2.9 < three < 3


def test_labels_that_are_known_too_early_wait() -> None:
    task, weak = tiny(annealing="linear"), scores(0)
    for progress in (0.0, 0.4, 1.0):
        task.after_step(progress)
        threshold = progress * 2 / 3 + 1 / 3
        kept = withhold(weak.tolist(), LABELS.tolist(), threshold)
        losses = [-weak[row].log_softmax(0)[y] for row, y in enumerate(kept) if y >= 0]
        wanted = float(sum(losses)) / max(len(losses), 1)
        assert abs(float(task.loss_from(weak, weak, LABELS, FEATURES)["label_loss"]) - wanted) < 1e-6
        if progress == 0.0:
            assert 0 < len(losses) < 4  # the broken twin: nothing waits
            assert abs(float(tiny().loss_from(weak, weak, LABELS, FEATURES)["label_loss"]) - wanted) > 1e-3


def test_a_checkpoint_carries_how_far_the_run_is() -> None:
    task, other = tiny(annealing="linear"), tiny(annealing="linear")
    seen = batch(task.embed(batch())[0].argmax(1))  # labels that are guessed already
    task.after_step(0.9)
    assert not torch.equal(task(seen)["loss"], other(seen)["loss"])
    other.load_state_dict(task.state_dict())
    assert torch.equal(task(seen)["loss"], other(seen)["loss"])


def test_without_labels_the_loss_has_a_gradient_for_every_weight() -> None:
    task = tiny(confidence=1.0)  # nor is anything confident
    found = task(batch(torch.full((ROWS,), -1)))
    found["loss"].backward()
    assert float(found["loss"].detach()) == 0.0
    trained = [p for p in task.parameters() if p.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in trained)


def test_the_second_view_is_the_strong_one() -> None:
    shown = tiny().illustrate(batch())
    assert "second view" in shown and not torch.equal(shown["first view"], shown["second view"])  # type: ignore[arg-type]
    weak, strong, _, features = tiny().embed(batch())
    first, second = tiny().large(batch()).chunk(2)
    assert torch.allclose(weak, tiny().logits(first), rtol=0, atol=1e-12)
    assert torch.allclose(strong, tiny().logits(second), rtol=0, atol=1e-12)
    assert torch.allclose(features[:, 1], tiny().features(second), rtol=0, atol=1e-12) and not features.requires_grad
    assert tiny().views_in_words(1024) == "1,024 weak and 1,024 strong views of 16 px"


def test_one_class_for_all_pictures_ends_a_run() -> None:
    well, ill = ({**tiny().loss_from(x, x, LABELS, FEATURES)} for x in (scores(0), scores(0) + 50 * torch.eye(3)[0]))
    for found, word in ((well, ""), (ill, "guessed to be of one class")):
        task, signs = tiny(), {name: float(value) for name, value in found.items()}
        said = [task.diagnose(signs, 0.5) for _ in range(3)]
        assert said[:2] == ["", ""] and (word in said[2]) and bool(word) == bool(said[2])


@pytest.mark.parametrize("wrong", [{"labels": 0.0}, {"labelled_share": 1.1}, {"confidence": -0.1}, {"weight": -1.0},
                                   {"classes": -1}, {"temperature": 0.0}])  # fmt: skip
def test_options_that_cannot_work_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(wrong))}"):
        UDAConfig(**wrong)


def test_data_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task.classes is 0, but uda learns from labels"):
        UDA(VIT, STRONG, UDAConfig())
