"""Balanced assignment on two processes: loss, every gradient and all state over several updates are those of one.

The broken twins are mistakes that real code has shipped.
"""

from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from modalities.task import Batch, Task
from modalities.vision.joint import sela, swav
from modalities.vision.joint.sela import SeLa, SeLaConfig
from modalities.vision.joint.swav import SwAV, SwAVConfig
from objectives.gather import gather
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures
from tests.vision.joint.on_two import found_on_two
from tests.vision.joint.updates import Numbers, patched, several_updates

STEPS = 4


def build(name: str) -> Task:
    torch.manual_seed(0)
    if name == "swav":
        return SwAV(VIT, TINY_VIEWS, SwAVConfig(prototypes=6, width=16, queue=12, queue_from=0)).double()
    return SeLa(VIT, TINY_VIEWS, SeLaConfig(clusters=3, heads=2, times=STEPS, rows=10)).double()


def batch_of(step: int, share: slice) -> Batch:
    batch = pictures()
    batch |= {"seeds": batch["seeds"] + step, "index": (batch["index"] + step) % 10}
    return {key: value[share] for key, value in batch.items()}


def batches(share: slice) -> list[Batch]:
    return [batch_of(step, share) for step in range(STEPS)]


def sums_only(x: Tensor) -> Tensor:
    """Column sums of all processes, but embeddings of this one alone."""
    return gather(x) if len(x) == 1 else x


def local(scores: Tensor, epsilon: float, iterations: int, everyone: Any) -> Tensor:
    return honest_sinkhorn(scores, epsilon, iterations)


honest_sinkhorn = swav.sinkhorn
RIGHT = {"swav": nullcontext, "sela": nullcontext}
TWINS = {
    "swav, local Sinkhorn": lambda: patched((swav, "sinkhorn", local)),
    "swav, local queue": lambda: patched((swav, "gather", sums_only)),
    "swav, queue counted on every process": lambda: patched((swav, "rank", lambda: 0), (swav, "world_size", lambda: 1)),
    "sela, local memory": lambda: patched((sela, "gather", lambda x: x)),
}


def on_two() -> dict[str, Numbers]:
    share = slice(dist.get_rank() * ROWS // 2, (dist.get_rank() + 1) * ROWS // 2)
    found = {}
    for name, context in (RIGHT | TWINS).items():
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
    alone = {name: several_updates(task, task, batches(whole)) for name, task in ((n, build(n)) for n in RIGHT)}
    for found in ranks:
        for name in RIGHT:
            assert apart(alone[name], found[name]) < 1e-12, name
        for name in TWINS:
            assert apart(alone[name.split(",")[0]], found[name]) > 1e-6, name
    # There was something to get wrong.
    assert int(alone["swav"]["queues.0.filled"]) == 12
    assert int(alone["sela"]["drawn_up"]) == STEPS
    assert not torch.equal(alone["sela"]["labels"], build("sela").state_dict()["labels"])
