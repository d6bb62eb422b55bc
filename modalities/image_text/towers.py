"""Image and text towers with one processor: built from a config, or taken from existing checkpoints."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    PreTrainedModel,
    ProcessorMixin,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
)

from modalities.image_text.tokenizer import train_clip_tokenizer


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the two towers, or where to take them from."""

    objective: Literal["clip", "siglip"] = "clip"
    """clip: softmax over all pairs of the global batch (2103.00020); siglip: a sigmoid for each pair (2303.15343)."""
    image_size: int = 48
    """Height and width of the images in pixels."""
    patch_size: int = 8
    """Height and width of a patch in pixels."""
    vision_width: int = 128
    """Width of the image tower."""
    vision_layers: int = 4
    """Layers of the image tower."""
    vision_heads: int = 4
    """Attention heads of the image tower."""
    text_width: int = 128
    """Width of the text tower."""
    text_layers: int = 3
    """Layers of the text tower."""
    text_heads: int = 4
    """Attention heads of the text tower."""
    text_length: int = 20
    """Longest caption in tokens, start and end included; the rest is cut off."""
    vocabulary: int = 2000
    """Size of the tokenizer that is trained on the training captions."""
    projection: int = 128
    """Width of the shared space."""
    clip_from: str = ""
    """Start from this CLIP checkpoint (folder or Hub id) with its processor; of the options here only objective and
    text_length then matter."""
    vision_from: str = ""
    """Start the image tower from this checkpoint; needs text_from too (VisionTextDualEncoder)."""
    text_from: str = ""
    """Start the text tower from this checkpoint; needs vision_from too."""

    def __post_init__(self) -> None:
        if bool(self.vision_from) != bool(self.text_from):
            raise ValueError("model.vision_from and model.text_from go together; give both, or neither.")
        if self.clip_from and self.vision_from:
            raise ValueError("model.clip_from takes both towers; drop it or model.vision_from and model.text_from.")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"model.image_size {self.image_size} is not a multiple of model.patch_size {self.patch_size}."
            )
        for tower in ("vision", "text"):
            width, heads = getattr(self, f"{tower}_width"), getattr(self, f"{tower}_heads")
            if width % heads:
                raise ValueError(f"model.{tower}_width {width} is not a multiple of model.{tower}_heads {heads}.")


def build_processor(cfg: ModelConfig, captions: Iterable[str]) -> ProcessorMixin:
    """Tokenizer and image processor; the tokenizer of new towers is trained on `captions` (byte-level BPE)."""
    if cfg.clip_from:
        return CLIPProcessor.from_pretrained(cfg.clip_from)
    if cfg.vision_from:
        return VisionTextDualEncoderProcessor(
            AutoImageProcessor.from_pretrained(cfg.vision_from, backend="pil"),
            AutoTokenizer.from_pretrained(cfg.text_from),
        )
    tokenizer = train_clip_tokenizer(captions, cfg.vocabulary, cfg.text_length)
    side = {"height": cfg.image_size, "width": cfg.image_size}
    pixels = CLIPImageProcessorPil(size=side, crop_size=side, do_center_crop=False)
    return CLIPProcessor(image_processor=pixels, tokenizer=tokenizer)


def build_towers(cfg: ModelConfig, processor: ProcessorMixin) -> PreTrainedModel:
    """A stock model with `get_image_features`, `get_text_features` and `logit_scale`.

    New towers draw their weights from torch's global generator; a checkpoint's are loaded in fp32.
    """
    if cfg.clip_from:
        return _checked(CLIPModel.from_pretrained(cfg.clip_from, dtype="float32"), cfg)
    if cfg.vision_from:
        towers = VisionTextDualEncoderModel.from_vision_text_pretrained(
            cfg.vision_from, cfg.text_from, projection_dim=cfg.projection
        )
        return _checked(towers.float(), cfg)
    tokenizer = processor.tokenizer
    return CLIPModel(
        CLIPConfig(
            projection_dim=cfg.projection,
            logit_scale_init_value=math.log(10 if cfg.objective == "siglip" else 1 / 0.07),
            vision_config={
                "image_size": cfg.image_size,
                "patch_size": cfg.patch_size,
                **_transformer(cfg.vision_width, cfg.vision_layers, cfg.vision_heads, cfg.projection),
            },
            text_config={
                "vocab_size": len(tokenizer),
                "max_position_embeddings": cfg.text_length,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
                **_transformer(cfg.text_width, cfg.text_layers, cfg.text_heads, cfg.projection),
            },
        )
    )


def _checked(towers: PreTrainedModel, cfg: ModelConfig) -> PreTrainedModel:
    longest = getattr(towers.config.text_config, "max_position_embeddings", cfg.text_length)
    if cfg.text_length > longest:
        raise ValueError(f"model.text_length is {cfg.text_length}, and the text tower reads at most {longest} tokens.")
    return towers


def _transformer(width: int, layers: int, heads: int, projection: int) -> dict[str, int | str]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "hidden_act": "gelu",  # OpenAI's quick_gelu is no better and takes two kernels more
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "projection_dim": projection,
    }
