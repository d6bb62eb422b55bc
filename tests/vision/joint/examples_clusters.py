"""Tiny instances of the methods with a memory of every picture, for the contract in tests/test_tasks.py."""

from collections.abc import Callable
from dataclasses import replace

from modalities.task import Batch, Task
from modalities.vision.backbones import ModelConfig
from modalities.vision.joint.deep_cluster import DeepCluster, DeepClusterConfig
from modalities.vision.joint.inst_disc import InstDisc, InstDiscConfig
from modalities.vision.joint.odc import ODC, ODCConfig
from modalities.vision.joint.pcl import PCL, PCLConfig
from modalities.vision.joint.views import JointViews
from tests.vision.joint.files import LARGE, RESNET, TINY_VIEWS, VIT, pictures

PICTURES = 10  # of which a batch shows eight
LATER = 1000  # updates after which clusters are found again: not in thirty


SMALL = replace(TINY_VIEWS, small_count=2)


def inst_disc() -> tuple[Task, Batch]:
    return InstDisc(RESNET, LARGE, InstDiscConfig(width=16, rows=PICTURES)), pictures()


def close() -> tuple[Task, Batch]:
    """With remembered embeddings that hardly move."""
    cfg = InstDiscConfig(width=16, momentum=0.9, proximal=0.1, rows=PICTURES)
    task = InstDisc(VIT, TINY_VIEWS, cfg)
    task.bank.seen[:] = True
    return task, pictures()


def deep_cluster(kind: ModelConfig, views: JointViews) -> tuple[Task, Batch]:
    """With clusters: without any, the loss is 0."""
    cfg = DeepClusterConfig(clusters=3, clusterings=2, width=16, every=LATER, rows=PICTURES)
    task = DeepCluster(kind, views, cfg)
    for bank in task._banks():
        bank.seen[:9] = True  # the tenth picture has no cluster
    task.cluster()
    return task, pictures()


def odc() -> tuple[Task, Batch]:
    """With remembered embeddings that hardly move, so that pictures stay in their clusters."""
    task = ODC(VIT, TINY_VIEWS, ODCConfig(clusters=3, width=16, momentum=0.9, least=1, rows=PICTURES))
    task.bank.seen[:9] = True
    task.partition.fit(task.bank, rounds=3, seed=0)
    return task, pictures()


def pcl() -> tuple[Task, Batch]:
    cfg = PCLConfig(clusters=2, clusterings=2, width=16, every=LATER, rows=PICTURES)
    task = PCL(RESNET, LARGE, cfg)
    task.bank.seen[:9] = True
    task.cluster()
    return task, pictures()


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "inst-disc": (InstDisc, inst_disc),
    "inst-disc, proximal, ViT": (InstDisc, close),
    "deep-cluster": (DeepCluster, lambda: deep_cluster(RESNET, LARGE)),
    "deep-cluster, multi-crop, ViT": (DeepCluster, lambda: deep_cluster(VIT, SMALL)),
    "odc, ViT": (ODC, odc),
    "pcl": (PCL, pcl),
}
# Neither memories nor clusters nor a teacher's keys carry a gradient: rows meet without one.
WITHOUT_GRADIENT_ACROSS = set(EXAMPLES)
