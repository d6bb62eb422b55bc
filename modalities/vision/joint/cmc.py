"""CMC: Tian et al. 2019, arXiv 1906.05849."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import ResNetModel

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, pooled, width_of
from modalities.vision.block_diagonal import side_by_side
from modalities.vision.colour_mixing import CHROMA, GREY, LUMA, mix
from modalities.vision.halves import build_halves, require_halvable
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from modalities.vision.task import Panels
from modalities.vision.views.pipeline import make_views
from objectives.contrastive import info_nce, own_columns
from objectives.gather import gather, rank


@dataclass(frozen=True)
class CMCConfig:
    """How grey and colour are compared.

    The released code draws 16,384 negatives from a memory of every picture (NCE, temperature 0.07), and its heads are
    linear. Here negatives are the pictures of the batch, whose embeddings are of this very step.
    """

    temperature: float = 0.1
    """Divides the cosines."""
    width: int = 128
    """Of the embeddings that are compared."""
    same_crop: bool = True
    """Compare grey and colour of one crop, as the paper does; otherwise grey of one crop with colour of the other."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.07 to 0.2 is usual.")
        if self.width < 1:
            raise ValueError(f"task.width {self.width} must be at least 1.")


class CMC(JointTask):
    """Two networks of half the width, one for grey and one for colour: tell which colours belong to which grey picture.

    They are published as one stock ResNet of the full width with block-diagonal kernels, whose features are those of
    both, one after the other. Views must keep their colour.
    """

    coupled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: CMCConfig) -> None:
        require_halvable(model, "CMC")
        if grey := max(views.first.grey, views.second.grey):
            raise ValueError(f"views.grey is {grey:g}, but CMC compares pictures with their colours; set it to 0.")
        super().__init__(model, views)
        self.encoder = build_halves(model)
        width = width_of(self.encoder["grey"])
        self.heads = nn.ModuleDict({name: mlp([width, 2 * width, cfg.width]) for name in self.encoder})
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", and signs of health}; log(n) is that of one who guesses."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Grey of the first and second crop, then colour of both, (n, width) each."""
        pixels = self.large(batch)
        grey1, grey2 = self.heads["grey"](pooled(self.encoder["grey"], mix(pixels, LUMA))).chunk(2)
        colour1, colour2 = self.heads["colour"](pooled(self.encoder["colour"], mix(pixels, CHROMA))).chunk(2)
        return grey1, grey2, colour1, colour2

    def loss_from(self, grey1: Tensor, grey2: Tensor, colour1: Tensor, colour2: Tensor) -> dict[str, Tensor]:
        """The mean of InfoNCE from grey to colour and back, over both crops, against all processes' pictures."""
        if not self.cfg.same_crop:
            colour1, colour2 = colour2, colour1
        losses = []
        for grey, colour in ((grey1, colour1), (grey2, colour2)):
            for queries, keys in ((grey, gather(colour)), (colour, gather(grey))):
                own = own_columns(len(queries), len(keys), rank() * len(queries), queries.device)
                losses.append(info_nce(queries, keys, self.cfg.temperature, own))
        return {"loss": torch.stack(losses).mean(), **health(grey1, colour1)}

    def features(self, pixels: Tensor) -> Tensor:
        """What downstream gets of views (n, 3, h, w), (n, d): those of grey, then those of colour."""
        grey, colour = self.encoder["grey"], self.encoder["colour"]
        return torch.cat([pooled(grey, mix(pixels, LUMA)), pooled(colour, mix(pixels, CHROMA))], 1)

    def export(self) -> ResNetModel:
        """One ResNet of both halves, for RGB images."""
        return side_by_side(self.encoder["grey"], LUMA, self.encoder["colour"], CHROMA)

    def negatives(self, rows: int) -> int:
        """All pictures but this one."""
        return rows - 1

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Every picture, and what is to be known as one: grey, and colour on an even grey."""
        first = make_views(batch["images"], batch["seeds"], self.crops.first, 0)
        other = self.crops.first if self.cfg.same_crop else self.crops.second
        second = first if self.cfg.same_crop else make_views(batch["images"], batch["seeds"], other, 1)
        colours = (second - mix(second, GREY) + 0.5).clamp(0, 1)
        return {"picture": batch["images"].float() / 255, "grey": mix(first, GREY), "colours": colours}
