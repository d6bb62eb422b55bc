"""Masked image modelling (SimMIM): Xie et al. 2021, arXiv 2111.09886."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import ViTForMaskedImageModeling
from transformers.modeling_outputs import MaskedImageModelingOutput

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, vit_config
from modalities.vision.patches import hidden, on_pixels
from modalities.vision.task import Panels
from modalities.vision.views.pipeline import ViewConfig
from modalities.vision.wholes import WholeTask, load_whole

_MASKED = 1  # stream of draws


@dataclass(frozen=True)
class MaskedImageConfig:
    """What is masked."""

    masked: float = 0.6
    """Share of the image that is masked."""
    mask_size: int = 16
    """Height and width of a masked square in pixels: one patch of the encoder or several."""

    def __post_init__(self) -> None:
        if not 0 < self.masked < 1:
            raise ValueError(f"task.masked is {self.masked}; it is a share of the image, between 0 and 1.")


class MaskedImage(WholeTask):
    """Put a learnt token in the place of random squares, and predict their pixels from the rest, linearly.

    `encoder` is the whole `ViTForMaskedImageModeling`. Downstream takes a `ViTModel` without the mask token; the whole
    goes into the folder `pretraining` in the same folder, from which training goes on (`model.start_from`, which takes
    either folder).

    Raises:
        ValueError: if the encoder is no ViT, its image size is not that of the views, or masks do not fit.
    """

    encoder: ViTForMaskedImageModeling

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: MaskedImageConfig) -> None:
        super().__init__(views)
        start = load_whole(ViTForMaskedImageModeling, model) if model.start_from else _build(model)
        self.encoder = start.train()
        self.cfg = cfg
        shape = self.encoder.config
        if shape.image_size != views.side:
            raise ValueError(
                f"The encoder has positions for images of {shape.image_size} pixels but views.side is {views.side}; "
                f"set views.side {shape.image_size}."
            )
        if cfg.mask_size < 1 or cfg.mask_size % shape.patch_size or shape.image_size % cfg.mask_size:
            raise ValueError(
                f"task.mask_size {cfg.mask_size} must be a multiple of the patch size {shape.patch_size} and "
                f"divide the image size {shape.image_size}."
            )
        self.squares = shape.image_size // cfg.mask_size
        if not 0 < round(cfg.masked * self.squares**2) < self.squares**2:
            raise ValueError(
                f"task.masked {cfg.masked} of {self.squares**2} squares masks none or all; take smaller "
                "squares or another share."
            )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss"}: the mean absolute error over masked pixels, in units of the range from -1 to 1."""
        return {"loss": self.run(self.pixels(batch), self.mask(batch)).loss}

    def mask(self, batch: Batch) -> Tensor:
        """What is hidden, (n, 1, h, w) bool, in squares of `mask_size`."""
        chosen = hidden(batch["seeds"], self.squares**2, self.cfg.masked, _MASKED)  # (n, squares)
        return on_pixels(chosen, (self.squares, self.squares), self.cfg.mask_size)

    def run(self, pixels: Tensor, masked: Tensor) -> MaskedImageModelingOutput:
        """The stock model's loss and reconstruction. pixels (n, 3, h, w), masked (n, 1, h, w)."""
        patch = self.encoder.config.patch_size
        return self.encoder(pixels, bool_masked_pos=masked[:, 0, ::patch, ::patch].flatten(1))

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The view, what is left of it, and the masked squares as predicted, in their places."""
        view, masked = self.view(batch), self.mask(batch)
        image = (self.run(self.pixels(batch), masked).reconstruction + 1) / 2
        return {
            "picture": view,
            "what is left": view.masked_fill(masked, 0.5),
            "predicted": torch.where(masked, image, view).clamp(0, 1),
        }


def _build(model: ModelConfig) -> ViTForMaskedImageModeling:
    if model.kind != "vit":
        raise ValueError(f"Masked image modelling masks tokens of a ViT, not of a {model.kind}; set model.kind vit.")
    config = vit_config(model)
    config.encoder_stride = model.patch_size  # pixels that the decoder makes of each token
    return ViTForMaskedImageModeling(config)
