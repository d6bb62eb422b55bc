"""What the studies share: names on the command line, labelled data to probe, and encoders before training."""

from collections.abc import Mapping
from functools import partial
from typing import Protocol, TypeVar

import torch

from evaluation.report import Row
from modalities.pictures.rows import ImageSet
from modalities.vision.backbones import ModelConfig, build_encoder, build_image_processor
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from recipes.run import RecipeConfig, Run
from recipes.vision_baselines import before_training
from recipes.vision_config import ProbeConfig
from recipes.vision_measure import Labelled, labelled, why_unlabelled

RANDOM = "random initialisation"

T = TypeVar("T")


class Study(RecipeConfig, Protocol):
    """Options that every study has."""

    @property
    def data(self) -> DataConfig:
        """What to train and probe on."""
        ...

    @property
    def eval(self) -> ProbeConfig:
        """How to probe."""
        ...


def begin(config: Study) -> tuple[Run, ImageSet, Labelled]:
    """The run, its data and the labelled part of it. Raises ValueError where there is nothing to probe for."""
    run = Run.begin(config)
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
    known = labelled(data, config.eval)
    if known is None:
        raise ValueError(f"A study compares what probes find. {why_unlabelled(data)}")
    return run, data, known


def chosen(names: str, known: Mapping[str, T], option: str) -> dict[str, T]:
    """The named ones. Raises ValueError for a name that is not known."""
    words = [word.strip() for word in names.split(",") if word.strip()]
    if not words or not set(words) <= known.keys():
        wrong = ", ".join(word for word in words if word not in known) or "nothing"
        raise ValueError(f"--{option} asks for {wrong}; choose from {', '.join(known)}.")
    return {word: known[word] for word in words}


def at_random(models: Mapping[str, ModelConfig], known: Labelled, seeds: int, device: torch.device) -> list[Row]:
    """Measures of encoders as they start, {name: encoder}; rows without numbers where `seeds` is 0."""
    rows = []
    for name, model in models.items():
        start = {name: partial(build_encoder, model)}
        found, _ = before_training(start, known, build_image_processor(model), seeds, device)
        rows += found or [Row(name)]
    return rows
