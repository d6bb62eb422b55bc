"""Whole runs of the methods with a memory: they make micro-batches, and stop where all is one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalities.draws import as_signed
from modalities.task import Batch, Task
from modalities.vision.joint.deep_cluster import DeepCluster, DeepClusterConfig
from modalities.vision.joint.inst_disc import InstDisc, InstDiscConfig
from modalities.vision.joint.odc import ODC, ODCConfig
from modalities.vision.joint.pcl import PCL, PCLConfig
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures
from trainers.config import TrainConfig
from trainers.loop import fit
from trainers.stop import Collapsed

CLUSTERED = DeepClusterConfig(clusters=3, clusterings=2, width=8, every=2, rows=ROWS)
TASKS: dict[str, Callable[[], Task]] = {
    "inst-disc": lambda: InstDisc(VIT, TINY_VIEWS, InstDiscConfig(width=8, proximal=0.1, rows=ROWS)),
    "deep-cluster": lambda: DeepCluster(VIT, TINY_VIEWS, CLUSTERED),
    "odc": lambda: ODC(VIT, TINY_VIEWS, ODCConfig(clusters=3, width=8, every=2, least=1, rows=ROWS)),
    "pcl": lambda: PCL(VIT, TINY_VIEWS, PCLConfig(clusters=2, clusterings=2, width=8, every=2, wait=0, rows=ROWS)),
}


def build(name: str) -> Task:
    torch.manual_seed(0)
    return TASKS[name]().double()


def collate(rows: Sequence[int], seeds: Any) -> Batch:
    index = torch.tensor(list(rows))
    return {"images": pictures()["images"][index], "seeds": as_signed(seeds), "index": index}


def trained(folder: Path, task: nn.Module, **options: Any) -> dict[str, Tensor]:
    chosen: dict[str, Any] = {"out": folder, "batch_size": 4, "steps": 6, "lr": 0.01, "tracker": "none"} | options
    cfg = TrainConfig(**chosen)
    return {name: value.clone() for name, value in fit(task, range(ROWS), collate, cfg).state_dict().items()}


@pytest.mark.parametrize("name", ["inst-disc", "odc", "pcl"])
def test_micro_batches_change_nothing_where_no_batch_norm_is(name: str, tmp_path: Path) -> None:
    """The head's batch norms are taken out for this: with them, micro-batches are refused."""

    def run(folder: str, micro_batch: int) -> dict[str, Tensor]:
        task = build(name)
        for part in ("head", "teacher_head"):
            if name != "inst-disc" and hasattr(task, part):
                linear = [layer for layer in getattr(task, part) if isinstance(layer, (nn.Linear, nn.ReLU))]
                setattr(task, part, nn.Sequential(*linear))
        return trained(tmp_path / folder, task, micro_batch=micro_batch, lr=1e-3)

    whole, parts = run("whole", 0), run("parts", 2)
    assert all((whole[key].double() - value.double()).abs().max() < 1e-9 for key, value in parts.items())


def test_a_run_in_which_one_cluster_has_nearly_all_pictures_stops(tmp_path: Path) -> None:
    def run(folder: str, alike: int) -> None:
        torch.manual_seed(0)
        task = DeepCluster(VIT, TINY_VIEWS, replace(CLUSTERED, rows=100, every=1000)).double()
        for bank in task._banks():  # as after a long run
            bank.rows[:alike] = bank.rows[:1].clone()
            bank.seen.fill_(True)
        task.cluster()
        trained(tmp_path / folder, task, log_every=1)

    run("well", alike=50)
    with pytest.raises(Collapsed, match="Step 3 of 6: nearly all pictures are nearest to one of the clusters"):
        run("collapsed", alike=97)
