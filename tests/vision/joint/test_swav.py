from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import as_signed
from modalities.task import Batch
from modalities.vision.joint.swav import SwAV, SwAVConfig
from tests.reference import assignment as reference
from tests.vision.joint.files import RESNET, TINY_VIEWS, VIEWS, VIT, pictures
from trainers.config import TrainConfig
from trainers.loop import fit
from trainers.stop import Collapsed

CONFIG = SwAVConfig(prototypes=5, width=16)
QUEUED = replace(CONFIG, queue=12, queue_from=0.5)
MULTI = replace(TINY_VIEWS, small_count=2)


def build(cfg: SwAVConfig = CONFIG, views: Any = MULTI) -> SwAV:
    torch.manual_seed(0)
    return SwAV(VIT, views, cfg).double()


def collate(rows: Sequence[int], seeds: Any) -> Batch:
    return {"images": pictures()["images"][list(rows)], "seeds": as_signed(seeds)}


def trained(folder: Path, task: SwAV, **options: Any) -> dict[str, Tensor]:
    options = {"batch_size": 4, "steps": 6, "lr": 0.01, "tracker": "none"} | options
    done = fit(task, range(8), collate, TrainConfig(out=folder, **options))
    return {name: value.clone() for name, value in done.state_dict().items()}


def by_hand(views: Sequence[Tensor], prototypes: Tensor, queues: Sequence[Tensor]) -> float:
    directions = F.normalize(prototypes, dim=1)
    scores = [(F.normalize(z, dim=1) @ directions.T).tolist() for z in views]
    codes = [
        reference.sinkhorn(scores[i] + (queue @ directions.T).tolist(), 0.05, 3)[: len(scores[i])]
        for i, queue in enumerate(queues)
    ]
    return reference.swapped_prediction(scores, codes, 0.1)


def test_the_loss_is_the_papers_with_and_without_queues() -> None:
    task, batch = build(QUEUED), pictures()
    views = task.embed(batch)
    assert len(views) == 4 and all(z.shape == (8, 16) for z in views)
    weights = task.prototypes.detach() * 3  # their lengths do not count
    nothing = weights.new_zeros(0, 16)
    without = by_hand([z.detach() for z in views], weights, [nothing, nothing])
    assert task(batch)["loss"].item() == pytest.approx(without, abs=1e-12)
    earlier = [z.detach() for z in task.embed(batch | {"seeds": batch["seeds"] + 1})[:2]]
    task.loss_from(*earlier)
    task.after_step(0.9)  # they enter the queues
    found = task.loss_from(*views)["loss"].item()
    assert found == pytest.approx(by_hand([z.detach() for z in views], weights, earlier), abs=1e-12)
    assert abs(found - by_hand([z.detach() for z in views], weights, earlier[::-1])) > 1e-6
    assert abs(found - without) > 1e-6


def test_queues_fill_once_per_update_and_late() -> None:
    task, batch = build(QUEUED), pictures()
    task(batch)
    assert [int(queue.filled) for queue in task.queues] == [0, 0]  # a forward pass alone moves nothing
    task.after_step(0.4)
    task.after_step(0.6)  # what was embedded before the queues fill is gone, and a skipped step brings nothing
    assert [int(queue.filled) for queue in task.queues] == [0, 0]
    views = task.embed(batch)
    task.loss_from(*views)
    task.after_step(0.6)
    assert all(torch.equal(queue.rows[:8], z.detach()) for queue, z in zip(task.queues, views[:2], strict=True))
    task.eval()(batch)
    task.after_step(0.7)
    assert [int(queue.filled) for queue in task.queues] == [8, 8]  # nor does one of evaluation


def test_prototypes_rest_at_first_and_move_then(tmp_path: Path) -> None:
    start = build().prototypes.detach().clone()
    options = {"weight_decay": 0.5, "warmup": 0.0}
    resting = trained(tmp_path / "a", build(replace(CONFIG, rest=1.0)), **options)
    assert torch.equal(resting["prototypes"], start)
    assert not torch.equal(resting["head.0.weight"], build().state_dict()["head.0.weight"])
    free = trained(tmp_path / "b", build(replace(CONFIG, rest=0.0)), **options)
    assert not torch.equal(free["prototypes"], start)

    class Zeroed(SwAV):  # the broken twin: a gradient of zeros, under which weights still decay
        def resting(self, progress: float) -> list[Any]:
            self.prototypes.grad = torch.zeros_like(self.prototypes)
            return []

    torch.manual_seed(0)
    decayed = trained(tmp_path / "c", Zeroed(VIT, MULTI, replace(CONFIG, rest=1.0)).double(), **options)
    assert not torch.equal(decayed["prototypes"], start)


def test_small_views_pass_the_encoder_once_and_no_code_is_made_of_them() -> None:
    torch.manual_seed(0)
    task, sides = SwAV(RESNET, replace(VIEWS, small_count=3), CONFIG).double(), []
    task.encoder.register_forward_pre_hook(
        lambda _, args, kwargs: sides.append((args or (kwargs["pixel_values"],))[0].shape[-1]), with_kwargs=True
    )
    views = task.embed(pictures())
    assert sides == [32, 16]
    entropy = task.loss_from(*views)["code_entropy"]
    noise = torch.randn(3, 8, 16, dtype=torch.float64)
    assert task.loss_from(*views[:2], *noise)["code_entropy"] == entropy
    assert task.loss_from(noise[0], *views[1:])["code_entropy"] != entropy


def test_a_run_in_which_one_prototype_is_nearest_to_all_stops(tmp_path: Path) -> None:
    def run(folder: str, task: SwAV) -> None:
        trained(tmp_path / folder, task, log_every=1, lr=1e-6)

    run("well", build())
    task = build()
    with torch.no_grad():
        task.prototypes[1:] = -task.embed(pictures())[0].mean(dim=0)
        task.prototypes[:1] = -task.prototypes[1:2]
    with pytest.raises(Collapsed, match="Step 3 of 6: nearly all pictures are nearest to one of the clusters"):
        run("collapsed", task)


def test_options_that_cannot_work_are_refused() -> None:
    for options, name in (
        ({"prototypes": 1}, "prototypes 1"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"queue": -1}, "queue -1"),
        ({"rest": 1.5}, "rest 1.5"),
    ):
        with pytest.raises(ValueError, match=f"task.{name}"):
            SwAVConfig(**options)
