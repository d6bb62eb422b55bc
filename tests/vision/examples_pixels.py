"""Tiny instances of the tasks that predict pixels, for the contract in tests/test_tasks.py."""

from collections.abc import Callable

import torch

from modalities.task import Batch, Task
from modalities.vision.autoencoder import Autoencoder, AutoencoderConfig
from modalities.vision.backbones import ModelConfig
from modalities.vision.denoising_autoencoder import DenoisingAutoencoder, DenoisingAutoencoderConfig
from modalities.vision.inpainting import Inpainting, InpaintingConfig
from modalities.vision.sparse_autoencoder import SparseAutoencoder, SparseAutoencoderConfig
from modalities.vision.views.pipeline import ViewConfig

ROWS = 8
RESNET = ModelConfig(width=8, image_size=32)
VIT = ModelConfig(kind="vit", width=8, image_size=32, heads=2)
VIEWS = ViewConfig(side=32)


def pictures() -> Batch:
    """Smooth ones, for noise cannot be predicted."""
    coarse = torch.rand(ROWS, 3, 4, 4, generator=torch.Generator().manual_seed(3)) * 255
    images = torch.nn.functional.interpolate(coarse, size=(40, 40), mode="bilinear")
    return {"images": images.to(torch.uint8), "seeds": torch.arange(ROWS) * 1_000_003 + 7}


def inpainting(model: ModelConfig = RESNET, **options: object) -> tuple[Task, Batch]:
    return Inpainting(model, VIEWS, InpaintingConfig(**options)), pictures()  # type: ignore[arg-type]


def autoencoder(model: ModelConfig = RESNET) -> tuple[Task, Batch]:
    return Autoencoder(model, VIEWS, AutoencoderConfig(code=16)), pictures()


def sparse_autoencoder(model: ModelConfig = RESNET) -> tuple[Task, Batch]:
    return SparseAutoencoder(model, VIEWS, SparseAutoencoderConfig(code=64)), pictures()


def denoising_autoencoder(model: ModelConfig = RESNET, **options: object) -> tuple[Task, Batch]:
    cfg = DenoisingAutoencoderConfig(**options)  # type: ignore[arg-type]
    return DenoisingAutoencoder(model, VIEWS, cfg), pictures()


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "autoencoder": (Autoencoder, autoencoder),
    "sparse autoencoder, vit": (SparseAutoencoder, lambda: sparse_autoencoder(VIT)),
    "denoising autoencoder, vit": (
        DenoisingAutoencoder,
        lambda: denoising_autoencoder(VIT, noise="gaussian", level=0.2),
    ),
    "inpainting, vit": (Inpainting, lambda: inpainting(VIT)),
    "inpainting, adversarial": (
        Inpainting,
        lambda: inpainting(adversarial=0.001, region="blocks", discriminator_width=4),
    ),
}
