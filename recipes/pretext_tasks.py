"""The pretext tasks by name: options of each, and what a task needs to know of the data before it starts."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.autoencoder import Autoencoder, AutoencoderConfig
from modalities.vision.backbones import ModelConfig, build_encoder
from modalities.vision.collate import ImageCollate
from modalities.vision.colorization import Colorization, ColorizationConfig
from modalities.vision.config import DataConfig
from modalities.vision.counting import Counting, CountingConfig
from modalities.vision.cpc import CPC, V1, CPCConfig
from modalities.vision.denoising_autoencoder import DenoisingAutoencoder, DenoisingAutoencoderConfig
from modalities.vision.exemplar import Exemplar, ExemplarConfig
from modalities.vision.indexed import Indexed
from modalities.vision.inpainting import Inpainting, InpaintingConfig
from modalities.vision.jigsaw import Jigsaw, JigsawConfig
from modalities.vision.mae import MAE, MAEConfig
from modalities.vision.masked_image import MaskedImage, MaskedImageConfig
from modalities.vision.relative_patch import RelativePatch, RelativePatchConfig
from modalities.vision.rotation import Rotation, RotationConfig
from modalities.vision.sparse_autoencoder import SparseAutoencoder, SparseAutoencoderConfig
from modalities.vision.split_brain import SplitBrain, SplitBrainConfig
from modalities.vision.task import VisionTask
from modalities.vision.views.pipeline import ViewConfig
from recipes.vision_build import forget, unlearnt
from recipes.vision_config import EvalConfig
from recipes.vision_measure import evenly
from trainers.config import TrainConfig

_LOOKED_AT = 512  # images

METHODS: dict[type, Callable[[ModelConfig, ViewConfig, Any], VisionTask]] = {
    RotationConfig: Rotation,
    RelativePatchConfig: RelativePatch,
    JigsawConfig: Jigsaw,
    CountingConfig: Counting,
    ExemplarConfig: Exemplar,
    AutoencoderConfig: Autoencoder,
    SparseAutoencoderConfig: SparseAutoencoder,
    DenoisingAutoencoderConfig: DenoisingAutoencoder,
    InpaintingConfig: Inpainting,
    ColorizationConfig: Colorization,
    SplitBrainConfig: SplitBrain,
    MAEConfig: MAE,
    MaskedImageConfig: MaskedImage,
    CPCConfig: CPC,
}


@dataclass(frozen=True)
class Config:
    """Options of the pretext recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    task: object = field(default_factory=RotationConfig)
    """Options of the task that was named."""
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


def preset(
    name: str,
    task: object,
    steps: int,
    views: ViewConfig | None = None,
    model: ModelConfig | None = None,
    fractions: str = "",
    supervised_epochs: float = 10.0,
    **train: Any,
) -> Config:
    """Defaults of one task: a few minutes on two cores."""
    options: dict[str, Any] = {"batch_size": 64, "lr": 2e-3, "weight_decay": 0.05, "evaluate_every": steps // 5}
    return Config(
        views=views or ViewConfig(),
        model=model or ModelConfig(),
        task=task,
        train=TrainConfig(out=Path("runs") / name, steps=steps, **options | train),
        eval=EvalConfig(fractions=fractions, supervised_epochs=supervised_epochs),
    )


LARGE = ViewConfig(side=96)
COLOURED = ViewConfig(jitter=0.8, grey=0.3)
VIT = ModelConfig(kind="vit", width=128, depth=4)
PATCHES = ModelConfig(kind="convnext")
SLOW = {"lr": 1.5e-3, "beta2": 0.95}

PRESETS = {
    name: preset(name, *options, **more)  # type: ignore[arg-type]
    for name, options, more in [
        ("rotation", (RotationConfig(), 600, COLOURED), {"batch_size": 32}),
        ("relative-patch", (RelativePatchConfig(), 800, LARGE), {"batch_size": 32}),
        ("jigsaw", (JigsawConfig(), 700, replace(LARGE, grey=0.3)), {"batch_size": 32}),
        ("counting", (CountingConfig(), 300, replace(LARGE, grey=0.5)), {}),
        ("exemplar", (ExemplarConfig(), 350, COLOURED), {"batch_size": 128}),
        ("autoencoder", (AutoencoderConfig(), 800), {}),
        ("sparse-autoencoder", (SparseAutoencoderConfig(), 500), {}),
        ("denoising-autoencoder", (DenoisingAutoencoderConfig(), 500), {}),
        ("inpainting", (InpaintingConfig(), 500), {}),
        ("inpainting-adversarial", (InpaintingConfig(adversarial=0.02), 300), {}),
        ("colorization", (ColorizationConfig(), 600), {}),
        ("split-brain", (SplitBrainConfig(), 800), {}),
        ("mae", (MAEConfig(), 1200, None, VIT, "", 5.0), SLOW),  # six minutes in all
        ("masked-image", (MaskedImageConfig(), 400, None, VIT), SLOW),
        ("cpc", (CPCConfig(), 300, None, PATCHES, "0.01,0.1,1"), {"batch_size": 32}),
        ("cpc-v1", (V1, 300, None, PATCHES, "0.01,0.1,1"), {"batch_size": 32}),
    ]
}


def build_task(config: Config, data: ImageSet) -> VisionTask:
    """The task, its weights drawn from torch's global generator."""
    options: Any = config.task
    if isinstance(options, ExemplarConfig):
        if not isinstance(data.train, Rows):
            raise ValueError("exemplar makes a class of every training image, and a stream does not say how many.")
        if options.classes not in (0, len(data.train)):
            raise ValueError(
                f"task.classes is {options.classes}, but there are {len(data.train)} training images, each a class of "
                "its own: leave it 0."
            )
        options = replace(options, classes=len(data.train))
    return METHODS[type(options)](config.model, config.views, options)


def prepare(task: VisionTask, config: Config, data: ImageSet) -> None:
    """Let the task look at some training images, the same ones in every process: which colours are rare."""
    if isinstance(task, Colorization):
        if isinstance(data.train, Rows):
            some = evenly(data.train, _LOOKED_AT)
            rows = some.__getitems__(list(range(len(some))))
        else:
            rows = list(itertools.islice(data.train, _LOOKED_AT))
        task.prepare(ImageCollate(config.data.side, config.data.max_bad)(rows)["images"])


def untrained(config: Config, data: ImageSet) -> dict[str, Callable[[], PreTrainedModel]]:
    """What the method has to beat, by name: what it would publish with new weights, drawn anew by each call; and where
    that is not a plain encoder (colour taken away, two halves), the plain one too."""

    def plain() -> PreTrainedModel:
        encoder = build_encoder(config.model)
        if config.model.start_from:
            forget(encoder)
        return encoder

    found: dict[str, Callable[[], PreTrainedModel]] = {
        "random initialisation": lambda: with_new_weights(config, data).export()
    }
    if isinstance(config.task, ColorizationConfig | SplitBrainConfig):
        found["plain encoder at random"] = plain
    return found


def with_new_weights(config: Config, data: ImageSet) -> VisionTask:
    """The task as it is built, without what the encoder has learnt where `model.start_from` names a checkpoint."""
    return unlearnt(build_task(config, data), config.model)


def build_collate(config: Config, data: ImageSet) -> Any:
    """What makes batches of rows: exemplar wants each image's number too."""
    collate = ImageCollate(config.data.side, config.data.max_bad)
    if isinstance(config.task, ExemplarConfig) and isinstance(data.train, Rows):
        return Indexed(collate, data.train.ids.tolist())
    return collate


def asked_of(config: Config, data: ImageSet) -> Rows:
    """The images that the pretext task is asked of: held-out ones, save by exemplar, which knows no others."""
    if isinstance(config.task, ExemplarConfig) and isinstance(data.train, Rows):
        return evenly(data.train, len(data.test))
    return data.test


def described(config: Config) -> str:
    """The images of `asked_of` in words."""
    return "training images" if isinstance(config.task, ExemplarConfig) else "held-out images"


def guessing(config: Config, data: ImageSet) -> float | None:
    """The loss of one who guesses, where the task is to choose among equally likely answers."""
    match config.task:
        case RotationConfig(turns=choices) | JigsawConfig(permutations=choices):
            return math.log(choices)
        case RelativePatchConfig():
            return math.log(8)
        case ExemplarConfig() if isinstance(data.train, Rows):
            return math.log(len(data.train))
    return None
