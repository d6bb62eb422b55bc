"""Masked autoencoder (MAE): He et al. 2021, arXiv 2111.06377."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, vit_config, vit_shape
from modalities.vision.patches import on_pixels, shuffled, sin_cos_positions
from modalities.vision.task import Panels
from modalities.vision.views.pipeline import ViewConfig
from modalities.vision.wholes import WholeTask, load_whole

_REMOVED = 1  # stream of draws


@dataclass(frozen=True)
class MAEConfig:
    """What is removed, and what puts it back."""

    removed: float = 0.75
    """Share of the patches that the encoder does not see."""
    normalised_targets: bool = True
    """Predict each patch's pixels less their mean, over their standard deviation; otherwise the pixels."""
    decoder_width: int = 96
    """Width of a token in the decoder. With model.start_from the decoder is the checkpoint's, and this and the two
    options below do nothing."""
    decoder_depth: int = 2
    """Layers of the decoder."""
    decoder_heads: int = 4
    """Attention heads of the decoder."""

    def __post_init__(self) -> None:
        if not 0 < self.removed < 1:
            raise ValueError(f"task.removed is {self.removed}; it is a share of all patches, between 0 and 1.")
        if self.decoder_width % (4 * self.decoder_heads):
            raise ValueError(
                f"task.decoder_width {self.decoder_width} is not a multiple of 4 times task.decoder_heads "
                f"{self.decoder_heads}."
            )
        if self.decoder_depth < 1:
            raise ValueError(f"task.decoder_depth is {self.decoder_depth}; the decoder needs at least 1 layer.")


class MAE(WholeTask):
    """Remove most patches of an image, encode the rest, and predict the pixels of what was removed.

    `encoder` is the whole `ViTMAEForPreTraining`. Its stock encoder removes patches at random even in eval mode, so
    what downstream takes, and what `save` writes, is a `ViTModel` on the same weights; the whole goes into the folder
    `pretraining` in the same folder, from which training goes on (`model.start_from`, which takes either folder).

    Raises:
        ValueError: if the encoder is no ViT, its image size is not that of the views, or nothing would be left.
    """

    encoder: ViTMAEForPreTraining

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: MAEConfig) -> None:
        super().__init__(views)
        self.encoder = (_load(model, cfg) if model.start_from else _build(model, cfg)).train()
        shape = self.encoder.config
        if shape.image_size != views.side:
            raise ValueError(
                f"MAE has positions for images of {shape.image_size} pixels but views.side is {views.side}; set "
                f"views.side {shape.image_size}."
            )
        self.grid = shape.image_size // shape.patch_size
        if int(self.grid**2 * (1 - shape.mask_ratio)) < 1:
            raise ValueError(f"task.removed {cfg.removed} leaves none of {self.grid**2} patches; remove fewer.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss"}: the mean square error over removed patches."""
        return {"loss": self.encoder(self.pixels(batch), noise=self.order(batch)).loss}

    def order(self, batch: Batch) -> Tensor:
        """The patches' places in a random order, (n, patches): the first are kept."""
        return shuffled(batch["seeds"], self.grid**2, _REMOVED)

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The view, the patches that are left, and the removed ones as predicted, in their places.

        Normalised targets say nothing of a patch's mean and contrast: these are then taken from the view.
        """
        view = self.view(batch)  # (n, 3, h, w)
        out = self.encoder(self.pixels(batch), noise=self.order(batch))
        found = out.logits  # (n, patches, pixels)
        if self.encoder.config.norm_pix_loss:
            true = self.encoder.patchify(self.pixels(batch))
            found = found * true.std(-1, keepdim=True) + true.mean(-1, keepdim=True)
        image = (self.encoder.unpatchify(found) + 1) / 2
        removed = on_pixels(out.mask.bool(), (self.grid, self.grid), self.encoder.config.patch_size)
        return {
            "picture": view,
            "what is left": view.masked_fill(removed, 0.5),
            "predicted": torch.where(removed, image, view).clamp(0, 1),
        }


def _build(model: ModelConfig, cfg: MAEConfig) -> ViTMAEForPreTraining:
    if model.kind != "vit":
        raise ValueError(f"MAE removes tokens of a ViT but model.kind is {model.kind}; set model.kind vit.")
    config = ViTMAEConfig(
        **vit_shape(vit_config(model)),
        decoder_hidden_size=cfg.decoder_width,
        decoder_num_hidden_layers=cfg.decoder_depth,
        decoder_num_attention_heads=cfg.decoder_heads,
        decoder_intermediate_size=4 * cfg.decoder_width,
        mask_ratio=cfg.removed,
        norm_pix_loss=cfg.normalised_targets,
    )
    mae = ViTMAEForPreTraining(config)
    _initialise(mae)
    return mae


def _load(model: ModelConfig, cfg: MAEConfig) -> ViTMAEForPreTraining:
    mae = load_whole(ViTMAEForPreTraining, model, mask_ratio=cfg.removed, norm_pix_loss=cfg.normalised_targets)
    for positions in (mae.vit.embeddings.position_embeddings, mae.decoder.decoder_pos_embed):
        positions.requires_grad_(False)  # they are fixed, which `from_pretrained` forgets
    return mae


@torch.no_grad()
def _initialise(mae: ViTMAEForPreTraining) -> None:
    """The paper's start. Not every release of `transformers` makes it: in some, the positions, which are fixed, stay
    zero in encoder and decoder, and neither can tell one patch from another."""
    embeddings, decoder = mae.vit.embeddings, mae.decoder
    projection = embeddings.patch_embeddings.projection
    grid = mae.config.image_size // mae.config.patch_size
    for positions in (embeddings.position_embeddings, decoder.decoder_pos_embed):
        positions[0, 0] = 0
        positions[0, 1:] = sin_cos_positions(grid, positions.shape[-1])
    nn.init.xavier_uniform_(projection.weight.flatten(1))  # as the linear layer that it is
    for token in (embeddings.cls_token, decoder.mask_token):
        nn.init.normal_(token, std=mae.config.initializer_range)
