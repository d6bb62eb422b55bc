"""InstDisc: the exact softmax, noise-contrastive estimation of it, the constant, and what the memory holds."""

from dataclasses import replace
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import integers_on_device
from modalities.vision.joint.inst_disc import InstDisc, InstDiscConfig
from tests.reference.contrastive import cosine, mean
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures

CFG = InstDiscConfig(width=8, rows=10)


def task_of(cfg: InstDiscConfig = CFG) -> InstDisc:
    torch.manual_seed(0)
    task = InstDisc(VIT, TINY_VIEWS, cfg).double()
    task.bank.rows.copy_(F.normalize(task.bank.rows, dim=1))  # of unit length in double precision too
    return task


def parts(task: InstDisc) -> tuple[Tensor, Tensor, Tensor]:
    z, index, seeds = task.embed(pictures())
    return z.detach(), index, seeds


def test_the_loss_is_that_of_picking_the_picture_among_all() -> None:
    task = task_of()
    z, index, seeds = parts(task)
    rows, losses = task.bank.rows.tolist(), []
    for query, place in zip(z.tolist(), index.tolist(), strict=True):
        scores = [exp(cosine(query, row) / 0.07) for row in rows]
        losses.append(-log(scores[place] / sum(scores)))
    assert float(task.loss_from(z, index, seeds)["loss"]) == pytest.approx(mean(losses), abs=1e-12)
    assert abs(float(task.loss_from(z, (index + 1) % 10, seeds)["loss"]) - mean(losses)) > 1e-3


def test_proximity_is_added() -> None:
    plain, close = task_of(), task_of(replace(CFG, proximal=2.0))
    z, index, seeds = parts(plain)
    gap = (F.normalize(z, dim=1) - plain.bank.rows[index]).square().sum(1).mean()
    both = [float(task.loss_from(z, index, seeds)["loss"]) for task in (plain, close)]
    assert both[1] - both[0] == pytest.approx(2 * float(gap), abs=1e-12)


def test_estimation_equals_the_released_form_in_loops() -> None:
    task = task_of(replace(CFG, negatives=5))
    z, index, seeds = parts(task)
    noise = integers_on_device(seeds, 5, 64) % 10
    every = [[exp(cosine(q, task.bank.rows[j].tolist()) / 0.07) for j in [i, *n]]
             for q, i, n in zip(z.tolist(), index.tolist(), noise.tolist(), strict=True)]  # fmt: skip
    constant = mean([score for row in every for score in row]) * 10
    losses = []
    for row in every:
        odds = [score / constant / (5 / 10) for score in row]  # P against 5 times the noise's 1 / 10
        losses.append(-log(odds[0] / (1 + odds[0])) - sum(log(1 / (1 + odd)) for odd in odds[1:]))
    loss, found = task._estimated(z, index, seeds)
    assert float(loss) == pytest.approx(mean(losses), abs=1e-11) and float(found) == pytest.approx(constant)


def test_the_constant_is_estimated_once() -> None:
    task = task_of(replace(CFG, negatives=5))
    task(pictures())
    assert float(task.constant) == 0  # not by a forward pass whose step might be skipped
    task.after_step(0.1)
    first = float(task.constant)
    task.head.weight.data.mul_(-1)
    task(pictures())
    task.after_step(0.2)
    assert first > 0 and float(task.constant) == first


def test_pictures_are_remembered_after_the_step_alone() -> None:
    task = task_of()
    before = task.bank.rows.clone()
    task(pictures())
    assert torch.equal(task.bank.rows, before)
    task.after_step(0.1)
    z = F.normalize(parts(task)[0], dim=1)
    assert (task.bank.rows[pictures()["index"]] - z).abs().max() < 1e-12
    assert int(task.bank.seen.sum()) == ROWS
    task.eval()
    task(pictures())
    task.after_step(0.2)  # nothing new was seen in training
    assert (task.bank.rows[pictures()["index"]] - z).abs().max() < 1e-12


def test_negatives_and_wrong_options() -> None:
    assert task_of().negatives(128) == 9 and task_of(replace(CFG, negatives=5)).negatives(128) == 5
    for wrong in ({"temperature": 0.0}, {"momentum": 1.0}, {"negatives": -1}, {"width": 0}):
        with pytest.raises(ValueError, match=f"task.{next(iter(wrong))} "):
            InstDiscConfig(**wrong)
    with pytest.raises(ValueError, match=r"task.rows 0"):
        task_of(InstDiscConfig())
