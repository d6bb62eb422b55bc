"""SimCSE: its loss by hand, its views after an evaluation, and cached gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from modalities.task import Batch
from modalities.text.row_dropout import DropoutDraws
from modalities.text.simcse import SimCSE, SimCSEConfig
from tests.text.examples_sentences import TINY, batch, encoder, simcse, tokenizer
from trainers.step import GradientStep


def build(texts: int) -> tuple[SimCSE, Batch]:
    torch.manual_seed(0)
    task, given = simcse(texts)
    assert isinstance(task, SimCSE)
    return task.double().train(), given


@pytest.mark.parametrize("texts", [1, 2, 3])
def test_the_loss_by_hand(texts: int) -> None:
    task, given = build(texts)
    parts = task.embed(given)
    assert len(parts) == max(2, texts)
    unit = [F.normalize(part, dim=-1) for part in parts]
    total = 0.0
    for i in range(8):
        chances = [torch.exp(unit[0][i] @ unit[1][j] / 0.05) for j in range(8)]
        against = [torch.exp(unit[0][i] @ unit[2][j] / 0.05) for j in range(8)] if texts == 3 else []
        total = total - torch.log(chances[i] / (sum(chances) + sum(against)))
    loss = task(given)["loss"]
    assert (loss - total / 8).abs() < 1e-12
    if texts == 3:  # the broken twin: negatives forgotten
        assert (task.loss_from(*parts[:2])["loss"] - loss).abs() > 1e-6


def test_views_differ_after_an_evaluation_has_run() -> None:
    task, given = build(1)
    before = task.embed(given)
    task.eval()
    task.encode({name: given[name][:, 0] for name in ("input_ids", "attention_mask")})
    left_on = task.embed(given)  # and nobody called train() again
    assert all(torch.equal(x, y) for x, y in zip(before, left_on, strict=True))
    assert (left_on[0] - left_on[1]).abs().max() > 1e-3
    stock = encoder().double().eval()  # the broken twin: stock dropout in eval mode
    ids, mask = given["input_ids"][:, 0], given["attention_mask"][:, 0]
    views = [stock(input_ids=ids, attention_mask=mask).last_hidden_state for _ in range(2)]
    assert torch.equal(*views)


def test_published_vectors_have_no_dropout_and_no_head() -> None:
    task, given = build(1)
    texts = {name: given[name][:, 0] for name in ("input_ids", "attention_mask")}
    found = task.encode(texts)
    assert torch.equal(found, task.eval().encode(texts))
    assert (found - task.embed_texts(given, drop=False)[:, 0]).abs().max() < 1e-12
    assert (found - task.embed(given)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("texts", [1, 3])
def test_micro_batches_give_the_gradient_of_the_whole_batch(texts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = Accelerator(cpu=True)

    def gradient(micro: int, task: SimCSE, given: Batch) -> Tensor:
        task.zero_grad()
        GradientStep(accelerator, task, task, micro)(given)
        return torch.cat([p.grad.flatten() for p in task.parameters() if p.grad is not None])

    task, given = build(texts)
    whole = gradient(0, task, given)
    assert (whole - gradient(2, task, given)).abs().max() < 1e-12
    honest = DropoutDraws.kept
    calls = [0]

    def restless(self: DropoutDraws, shape: torch.Size, rate: float) -> Tensor | None:
        calls[0] += 1  # the broken twin: another mask at the second reading
        self._calls += calls[0]
        return honest(self, shape, rate)

    monkeypatch.setattr(DropoutDraws, "kept", restless)
    assert (gradient(2, copy.deepcopy(task), given) - whole).abs().max() > 1e-4


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task\.temperature is 0"):
        SimCSEConfig(temperature=0.0)
    task = SimCSE(encoder(), tokenizer(), TINY.length, SimCSEConfig(), dropout=0.0)
    with pytest.raises(ValueError, match=r"model\.dropout is 0, so that both views"):
        task(batch(1))
    task(batch(2))  # pairs need none
