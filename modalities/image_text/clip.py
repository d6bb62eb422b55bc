"""CLIP: Radford et al. 2021, arXiv 2103.00020; with SigLIP's loss (Zhai et al. 2023, arXiv 2303.15343) by option."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from modalities.task import Batch, Task
from objectives import tiled
from objectives.contrastive import clip, siglip
from objectives.diagnostics import embedding_std
from objectives.gather import gather, rank, world_size

_LARGEST_LOG_SCALE = math.log(100.0)
_LARGE_BATCH = 1024


class Clip(Task):
    """Match each image to its caption among all captions of the global batch, and each caption to its image.

    Args:
        towers: a model with `get_image_features`, `get_text_features` and a `logit_scale` parameter.
        processor: saved beside the towers.
        objective: "clip" or "siglip".

    Batch: pixel_values (n, 3, h, w), input_ids and attention_mask (n, t), ids (n,): pairs with equal ids show the same
    thing and are not held against each other.
    """

    coupled = True

    def __init__(self, towers: PreTrainedModel, processor: ProcessorMixin, objective: str = "clip") -> None:
        super().__init__()
        self.encoder = towers
        self.processor = processor
        self.bias = nn.Parameter(torch.tensor(-10.0)) if objective == "siglip" else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "logit_scale", "image_std", "text_std"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Images (n, d), texts (n, d) and ids (n,)."""
        features = self.encode(batch)
        return features["image"], features["text"], batch["ids"]

    def loss_from(self, image: Tensor, text: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """Local rows against the gathered ones of all processes: exact, at 1/W of the arithmetic."""
        scale, others = self.encoder.logit_scale, {}
        if world_size() > 1:
            others = {"all_text": gather(text), "all_ids": gather(ids), "offset": rank() * len(ids)}
        if self.bias is not None:
            loss = siglip(image, text, scale, self.bias, ids, **others)
        else:
            if others:
                others["all_image"] = gather(image)
            # Tiles spare the n x m matrix; they cost nothing but launches, which small batches would notice.
            form = tiled.clip if len(image) * world_size() >= _LARGE_BATCH else clip
            loss = form(image, text, scale, ids, **others)
        return {
            "loss": loss,
            "logit_scale": scale.detach().exp(),
            # Near 0 when the embeddings have collapsed onto one point, near 1/sqrt(d) when they fill the sphere.
            "image_std": embedding_std(image.detach()),
            "text_std": embedding_std(text.detach()),
        }

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """{"image": (n, d), "text": (n, d)}, projected and not normalised; each only where its inputs are there."""
        features = {}
        if "pixel_values" in batch:
            features["image"] = self.encoder.get_image_features(batch["pixel_values"]).pooler_output
        if "input_ids" in batch:
            out = self.encoder.get_text_features(batch["input_ids"], attention_mask=batch["attention_mask"])
            features["text"] = out.pooler_output
        return features

    def after_step(self, progress: float) -> None:
        """Keep CLIP's scale between 1 and 100: the parameter itself, for a clamp inside the loss has no gradient."""
        if self.bias is None:
            self.encoder.logit_scale.data.clamp_(0.0, _LARGEST_LOG_SCALE)

    def save(self, folder: Path) -> None:
        """Towers and processor, for `CLIPModel.from_pretrained` and `CLIPProcessor.from_pretrained`."""
        super().save(folder)
        self.processor.save_pretrained(folder)
