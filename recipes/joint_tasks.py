"""The joint-embedding methods by name: options of each, and what a method needs to know of the data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modalities.vision.backbones import ModelConfig
from modalities.vision.config import DataConfig
from modalities.vision.joint.simclr import SimCLR, SimCLRConfig
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from recipes.pretext_measure import EvalConfig
from trainers.config import TrainConfig

METHODS: dict[type, Callable[[ModelConfig, JointViews, Any], JointTask]] = {
    SimCLRConfig: SimCLR,
}

RESNET = ModelConfig(channels_last=True)
VIT = ModelConfig(kind="vit", width=96, depth=4)


@dataclass(frozen=True)
class Config:
    """Options of the joint-embedding recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    views: JointViews = field(default_factory=JointViews)
    model: ModelConfig = RESNET
    task: object = field(default_factory=SimCLRConfig)
    """Options of the method that was named."""
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


def preset(
    name: str, task: object, views: JointViews | None = None, model: ModelConfig = RESNET, **train: Any
) -> Config:
    """Defaults of one method. All take the same pictures, batch and number of steps, so that they compare."""
    options: dict[str, Any] = {
        "batch_size": 128, "steps": 300, "lr": 2e-3, "weight_decay": 0.05, "evaluate_every": 60
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
    ]
}
