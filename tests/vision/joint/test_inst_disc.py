"""InstDisc: the exact softmax over all pictures, and what the memory holds."""

from dataclasses import replace
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.vision.joint.inst_disc import InstDisc, InstDiscConfig
from tests.reference.contrastive import cosine, mean
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures

CFG = InstDiscConfig(width=8, rows=10)


def task_of(cfg: InstDiscConfig = CFG) -> InstDisc:
    torch.manual_seed(0)
    task = InstDisc(VIT, TINY_VIEWS, cfg).double()
    task.bank.rows.copy_(F.normalize(task.bank.rows, dim=1))  # of unit length in double precision too
    return task


def parts(task: InstDisc) -> tuple[Tensor, Tensor]:
    z, index = task.embed(pictures())
    return z.detach(), index


def test_the_loss_is_that_of_picking_the_picture_among_all() -> None:
    task = task_of()
    z, index = parts(task)
    rows, losses = task.bank.rows.tolist(), []
    for query, place in zip(z.tolist(), index.tolist(), strict=True):
        scores = [exp(cosine(query, row) / 0.07) for row in rows]
        losses.append(-log(scores[place] / sum(scores)))
    assert float(task.loss_from(z, index)["loss"]) == pytest.approx(mean(losses), abs=1e-12)
    assert abs(float(task.loss_from(z, (index + 1) % 10)["loss"]) - mean(losses)) > 1e-3


def test_proximity_is_added() -> None:
    plain, close = task_of(), task_of(replace(CFG, proximal=2.0))
    z, index = parts(plain)
    gap = (F.normalize(z, dim=1) - plain.bank.rows[index]).square().sum(1).mean()
    both = [float(task.loss_from(z, index)["loss"]) for task in (plain, close)]
    assert both[1] - both[0] == pytest.approx(2 * float(gap), abs=1e-12)


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


def test_one_view_is_taken_and_shown() -> None:
    assert list(task_of().illustrate(pictures())) == ["picture", "first view"]
    assert task_of().views_in_words(1024) == "1,024 views of 16 px"


def test_negatives_and_wrong_options() -> None:
    assert task_of().negatives(128) == 9
    for wrong in ({"temperature": 0.0}, {"momentum": 1.0}, {"proximal": -1.0}, {"width": 0}):
        with pytest.raises(ValueError, match=f"task.{next(iter(wrong))} "):
            InstDiscConfig(**wrong)
    with pytest.raises(ValueError, match=r"task.rows 0"):
        task_of(InstDiscConfig())
