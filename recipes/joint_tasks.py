"""The joint-embedding methods by name: options of each, and what a method needs to know of the data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modalities.vision.backbones import ModelConfig
from modalities.vision.config import DataConfig
from modalities.vision.joint.amdim import AMDIM, AMDIMConfig
from modalities.vision.joint.barlow_twins import BarlowTwins, BarlowTwinsConfig
from modalities.vision.joint.byol import BYOL, BYOLConfig
from modalities.vision.joint.cmc import CMC, CMCConfig
from modalities.vision.joint.deep_cluster import DeepCluster, DeepClusterConfig
from modalities.vision.joint.dense import Dense, DenseConfig
from modalities.vision.joint.dino import DINO, DINOConfig
from modalities.vision.joint.inst_disc import InstDisc, InstDiscConfig
from modalities.vision.joint.moco import MoCo, MoCoConfig
from modalities.vision.joint.moco_v3 import MoCoV3, MoCoV3Config
from modalities.vision.joint.nnclr import NNCLR, NNCLRConfig
from modalities.vision.joint.odc import ODC, ODCConfig
from modalities.vision.joint.pcl import PCL, PCLConfig
from modalities.vision.joint.pirl import PIRL, PIRLConfig
from modalities.vision.joint.s4l import S4L, S4LConfig
from modalities.vision.joint.sela import SeLa, SeLaConfig
from modalities.vision.joint.simclr import SimCLR, SimCLRConfig
from modalities.vision.joint.simsiam import SimSiam, SimSiamConfig
from modalities.vision.joint.sup_con import SupCon, SupConConfig
from modalities.vision.joint.swav import SwAV, SwAVConfig
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.uda import UDA, UDAConfig
from modalities.vision.joint.vicreg import VICReg, VICRegConfig
from modalities.vision.joint.views import JointViews, byol, colourful, moco, multi_crop, overlapping, swav
from modalities.vision.views.pipeline import ViewConfig
from recipes.joint_config import JointEvalConfig
from trainers.config import TrainConfig

METHODS: dict[type, Callable[[ModelConfig, JointViews, Any], JointTask]] = {
    SimCLRConfig: SimCLR,
    InstDiscConfig: InstDisc,
    DeepClusterConfig: DeepCluster,
    ODCConfig: ODC,
    PCLConfig: PCL,
    SupConConfig: SupCon,
    NNCLRConfig: NNCLR,
    MoCoConfig: MoCo,
    MoCoV3Config: MoCoV3,
    S4LConfig: S4L,
    UDAConfig: UDA,
    BYOLConfig: BYOL,
    SimSiamConfig: SimSiam,
    BarlowTwinsConfig: BarlowTwins,
    VICRegConfig: VICReg,
    SwAVConfig: SwAV,
    SeLaConfig: SeLa,
    DINOConfig: DINO,
    PIRLConfig: PIRL,
    CMCConfig: CMC,
    AMDIMConfig: AMDIM,
    DenseConfig: Dense,
}

RESNET = ModelConfig(channels_last=True)
SMALL_VIT = ModelConfig(kind="vit", width=64, depth=3)  # a teacher and more views in the same time
RISING_DECAY = {"weight_decay": 0.04, "final_weight_decay": 0.4}
WEAK_AND_STRONG = JointViews(ViewConfig(), ViewConfig(policy_ops=2))


@dataclass(frozen=True)
class Config:
    """Options of the joint-embedding recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    views: JointViews = field(default_factory=JointViews)
    model: ModelConfig = RESNET
    task: object = field(default_factory=SimCLRConfig)
    """Options of the method that was named."""
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: JointEvalConfig = field(default_factory=JointEvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


def preset(
    name: str, task: object, views: JointViews | None = None, model: ModelConfig = RESNET, **train: Any
) -> Config:
    """Defaults of one method. All take the same pictures, batch and number of steps, so that they compare."""
    options: dict[str, Any] = {
        "batch_size": 128, "steps": 200, "lr": 2e-3, "weight_decay": 0.05, "evaluate_every": 50
    }  # fmt: skip
    return Config(
        views=views or JointViews(),
        model=model,
        task=task,
        train=TrainConfig(out=Path("runs") / name, **options | train),
    )


PRESETS = {
    name: preset(name, *options, **more)  # type: ignore[arg-type]
    for name, options, more in [
        ("simclr", (SimCLRConfig(),), {}),
        ("simclr-v2", (SimCLRConfig(layers=3),), {}),
        ("simclr-hard", (SimCLRConfig(hardness=0.5, prior=0.05),), {}),
        ("nnclr", (NNCLRConfig(),), {}),
        ("moco", (MoCoConfig(),), {}),
        ("moco-v1", (MoCoConfig(temperature=0.07, hidden=False), moco(64)), {}),
        ("mochi", (MoCoConfig(mixed=64, mixed_with_query=16),), {}),
        ("moco-v3", (MoCoV3Config(),), {}),
        ("sup-con", (SupConConfig(),), {}),  # reads all labels
        ("s4l", (S4LConfig(), WEAK_AND_STRONG), {"batch_size": 64}),  # reads few; four turns of each picture
        ("uda", (UDAConfig(), WEAK_AND_STRONG), {}),  # reads few
        ("inst-disc", (InstDiscConfig(),), {}),
        ("deep-cluster", (DeepClusterConfig(),), {}),
        ("odc", (ODCConfig(),), {}),
        ("pcl", (PCLConfig(),), {}),
        ("byol", (BYOLConfig(), byol(64)), {}),
        ("simsiam", (SimSiamConfig(),), {}),
        ("barlow-twins", (BarlowTwinsConfig(),), {}),
        ("vicreg", (VICRegConfig(),), {}),
        ("swav", (SwAVConfig(), swav(64, 32, 4)), {}),
        ("sela", (SeLaConfig(),), {}),
        ("dino", (DINOConfig(), multi_crop(64, 32, 2), SMALL_VIT), RISING_DECAY | {"lr": 1e-3}),
        ("dino-resnet", (DINOConfig(), multi_crop(64, 32, 2)), RISING_DECAY),
        ("pirl", (PIRLConfig(),), {}),
        ("cmc", (CMCConfig(), colourful(64)), {}),
        ("amdim", (AMDIMConfig(),), {}),
        ("dense", (DenseConfig(), overlapping(64)), {}),
    ]
}
