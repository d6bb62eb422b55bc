"""A run that is killed and goes on is the uninterrupted one, bit for bit, for every method that remembers anything."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalities.task import Batch, Task
from modalities.vision.joint.uda import UDA, UDAConfig
from tests.vision.joint import (
    examples_assignment,
    examples_clusters,
    examples_contrast,
    examples_dino,
    examples_moco,
    examples_no_negatives,
    examples_views,
)
from tests.vision.joint.examples_clusters import PICTURES
from tests.vision.joint.examples_contrast import STRONG
from tests.vision.joint.files import VIT
from tests.vision.joint.training import Killed, apart, train

EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    **examples_assignment.EXAMPLES,
    **examples_clusters.EXAMPLES,
    **examples_contrast.EXAMPLES,
    **examples_dino.EXAMPLES,
    **examples_moco.EXAMPLES,
    **examples_no_negatives.EXAMPLES,
    **examples_views.EXAMPLES,
    "uda": (UDA, lambda: (UDA(VIT, STRONG, UDAConfig(classes=3, annealing="linear")), {})),  # what progress is for
}


# Of each method that remembers anything one example, in fp32, on whatever encoder and with whatever batch norms it has.
CHOSEN = {kind: name for name, (kind, _) in EXAMPLES.items() if kind.after_step is not Task.after_step}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return EXAMPLES[name][1]()[0].float()


def forgetful(task: nn.Module) -> nn.Module:
    """The broken twin: what does not learn begins anew with every start of `fit`."""
    learns = {name for name, weight in task.named_parameters() if weight.requires_grad}
    first = {name: value.clone() for name, value in task.state_dict().items() if name not in learns}
    honest = task.train

    def begin(mode: bool = True) -> nn.Module:
        now: dict[str, Tensor] = task.state_dict()
        for name, value in first.items() if mode else ():
            now[name].copy_(value)
        return honest(mode)

    task.train = begin  # type: ignore[method-assign]
    return task


@pytest.mark.parametrize("name", CHOSEN.values())
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"steps": 3, "places": PICTURES, "log_every": 3}
    whole = train(build(name), tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train(build(name), tmp_path / "killed", kill_at=3, **options)
    shutil.copytree(tmp_path / "killed", tmp_path / "twin")
    assert apart(whole, train(build(name), tmp_path / "killed", **options)) == 0
    assert apart(whole, train(forgetful(build(name)), tmp_path / "twin", **options)) > 0
