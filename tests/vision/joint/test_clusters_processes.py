"""Memories and clusters on two processes: loss, every gradient and all state over several updates are those of one.

The broken twins are mistakes that are easy to make.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from modalities.task import Batch, Task
from modalities.vision.joint import deep_cluster, inst_disc, odc, pcl
from modalities.vision.joint.deep_cluster import DeepCluster, DeepClusterConfig
from modalities.vision.joint.inst_disc import InstDisc, InstDiscConfig
from modalities.vision.joint.odc import ODC, ODCConfig
from modalities.vision.joint.pcl import PCL, PCLConfig
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures
from tests.vision.joint.on_two import found_on_two
from tests.vision.joint.updates import Numbers, patched, several_updates

STEPS = 4
PICTURES = 10

RIGHT: dict[str, Callable[[], Task]] = {
    "inst-disc": lambda: InstDisc(VIT, TINY_VIEWS, InstDiscConfig(width=8, proximal=0.1, rows=PICTURES)),
    "deep-cluster": lambda: DeepCluster(
        VIT, TINY_VIEWS, DeepClusterConfig(clusters=3, clusterings=2, width=8, every=2, rows=PICTURES)
    ),
    "odc": lambda: ODC(VIT, TINY_VIEWS, ODCConfig(clusters=3, width=8, every=2, least=3, rows=PICTURES)),
    "pcl": lambda: PCL(
        VIT, TINY_VIEWS, PCLConfig(clusters=2, clusterings=2, width=8, every=2, wait=0, momentum=0.5, rows=PICTURES)
    ),
}


def build(name: str) -> Task:
    torch.manual_seed(0)
    return RIGHT[name]().double()


def batch_of(step: int, share: slice) -> Batch:
    batch = pictures()
    batch |= {"seeds": batch["seeds"] + step, "index": (batch["index"] + 3 * step) % PICTURES}
    return {key: value[share] for key, value in batch.items()}


def batches(share: slice) -> list[Batch]:
    return [batch_of(step, share) for step in range(STEPS)]


def alone(x: Tensor) -> Tensor:
    return x


def moves_in_forward(task: PCL, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The teacher follows with every micro-batch."""
    pcl.follow(task.teacher, task.encoder, 0.5)
    return whole_embed(task, batch)


whole_embed = PCL.embed
TWINS = {
    "inst-disc, local memory": lambda: patched((inst_disc, "gather", alone)),
    "deep-cluster, local memory": lambda: patched((deep_cluster, "gather", alone)),
    "deep-cluster, mean of means": lambda: patched((deep_cluster, "all_reduce", alone)),
    "odc, local memory": lambda: patched((odc, "gather", alone)),
    "odc, mean of means": lambda: patched((odc, "all_reduce", alone)),
    "pcl, local keys": lambda: patched((pcl, "gather", alone), (pcl, "rank", lambda: 0)),
    "pcl, keys of the first process": lambda: patched((pcl, "rank", lambda: 0)),
    "pcl, momentum per forward pass": lambda: patched((PCL, "embed", moves_in_forward)),
}


def on_two() -> dict[str, Numbers]:
    share = slice(dist.get_rank() * ROWS // 2, (dist.get_rank() + 1) * ROWS // 2)
    found = {}
    for name, context in (dict.fromkeys(RIGHT, nullcontext) | TWINS).items():
        with context():
            task = build(name.split(",")[0])
            # Buffers must be alike without being sent around.
            model = DistributedDataParallel(task, broadcast_buffers=False)
            found[name] = several_updates(task, model, batches(share))
    return found


def apart(left: Numbers, right: Numbers) -> float:
    assert left.keys() == right.keys() and left
    return max(float((left[key].double() - right[key].double()).abs().max()) for key in left)


def test_two_processes_equal_one_over_several_updates() -> None:
    ranks = found_on_two(__name__)
    whole = slice(0, ROWS)
    right = {name: several_updates(task, task, batches(whole)) for name, task in ((n, build(n)) for n in RIGHT)}
    for found in ranks:
        for name in RIGHT:
            assert apart(right[name], found[name]) < 1e-12, name
        for name in TWINS:
            assert apart(right[name.split(",")[0]], found[name]) > 1e-6, name
    # There was something to get wrong.
    assert int(right["deep-cluster"]["clock.updates"]) == STEPS
    for name, labels in (("deep-cluster", "partitions.1.labels"), ("pcl", "prototypes.1.labels")):
        assert (right[name][labels] >= 0).all()
    assert (
        (right["odc"]["partition.labels"] >= 0).all() and (right["odc"]["loss 0"] == 0) and right["odc"]["loss 3"] > 0
    )
