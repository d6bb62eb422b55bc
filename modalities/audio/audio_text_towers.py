"""Audio and text towers of CLAP with one processor: built from options, or taken from a checkpoint."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

from modalities.audio.clap_features import build_extractor
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from modalities.vision.batch_norm import with_global_statistics


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the two towers, or where to take them from."""

    seconds: int = 1
    """Length of the sounds that the audio tower hears; shorter ones are repeated, longer ones cut."""
    bands: int = 64
    """Mel bands of the spectrogram."""
    hop: int = 256
    """Samples from one frame of the spectrogram to the next."""
    window: int = 1024
    """Samples of a frame."""
    patch: int = 8
    """Bands and frames of a patch."""
    audio_width: int = 64
    """Width of the first stage of the audio tower (Swin); each further stage doubles it."""
    audio_stages: int = 2
    """Stages of the audio tower; each further one halves the time and frequency resolution."""
    audio_blocks: int = 1
    """Transformer blocks of each stage."""
    audio_heads: int = 2
    """Attention heads of the first stage; each further stage doubles them."""
    audio_window: int = 4
    """Patches in time and in frequency that attend to each other."""
    text_width: int = 64
    """Width of the text tower."""
    text_layers: int = 1
    """Layers of the text tower."""
    text_heads: int = 2
    """Attention heads of the text tower."""
    text_length: int = 16
    """Longest description in tokens, marks included; the rest is cut off."""
    vocabulary: int = 1000
    """Size of the lower-case WordPiece tokenizer that is trained on the training descriptions."""
    projection: int = 64
    """Width of the shared space."""
    dropout: float = 0.1
    """Share of activations that are dropped in both towers."""
    clap_from: str = ""
    """Start from this CLAP checkpoint (folder or Hub id) with its processor; of the options here only text_length then
    matters."""

    def __post_init__(self) -> None:
        if self.seconds < 1:
            raise ValueError(f"model.seconds is {self.seconds}; the feature extractor takes whole seconds, 1 or more.")
        if self.bands % (self.patch << (self.audio_stages - 1)):
            raise ValueError(
                f"model.bands {self.bands} is not a multiple of {self.patch << (self.audio_stages - 1)}, which "
                f"{self.audio_stages} stages of patches of {self.patch} need."
            )
        for tower in ("audio", "text"):
            width, heads = getattr(self, f"{tower}_width"), getattr(self, f"{tower}_heads")
            if width % heads:
                raise ValueError(f"model.{tower}_width {width} is not a multiple of model.{tower}_heads {heads}.")


def build_processor(cfg: ModelConfig, rate: int, descriptions: Iterable[str]) -> ClapProcessor:
    """Feature extractor and tokenizer; the tokenizer of new towers is trained on `descriptions`.

    Raises:
        ValueError: for a checkpoint that hears another rate, or fuses several cuts of a long sound.
    """
    if cfg.clap_from:
        return _of_checkpoint(cfg.clap_from, rate)
    tokenizer = build_tokenizer(TokenizerConfig("wordpiece", cfg.vocabulary), descriptions, cfg.text_length)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # the model takes no token types
    extractor = build_extractor(rate, cfg.seconds, cfg.bands, cfg.hop, cfg.window)
    return ClapProcessor(extractor, tokenizer)  # type: ignore[no-untyped-call]


def build_towers(cfg: ModelConfig, processor: ClapProcessor) -> ClapModel:
    """A `ClapModel`, whose batch norm is global over the processes.

    New towers draw their weights from torch's global generator; a checkpoint's are loaded in fp32.

    Raises:
        ValueError: where the text tower is shorter than `text_length`.
    """
    if cfg.clap_from:
        towers = ClapModel.from_pretrained(cfg.clap_from, dtype="float32")
        text: Any = towers.config.text_config
        if cfg.text_length > (longest := text.max_position_embeddings - text.pad_token_id - 1):
            raise ValueError(
                f"model.text_length is {cfg.text_length}, and the text tower of {cfg.clap_from} reads at most "
                f"{longest} tokens."
            )
        return with_global_statistics(towers)
    tokenizer, extractor = processor.tokenizer, processor.feature_extractor
    frames = extractor.nb_max_samples // extractor.hop_length + 1
    fold = math.ceil(math.sqrt(frames / cfg.bands))  # stretches of time that lie below each other in the square image
    last = fold * cfg.bands // (cfg.patch << (cfg.audio_stages - 1))
    if cfg.audio_window > last:
        raise ValueError(
            f"model.audio_window is {cfg.audio_window}, and the last stage of the audio tower is {last} patches wide: "
            "take a smaller window, or fewer stages."
        )
    audio = {
        "num_mel_bins": cfg.bands,
        "spec_size": fold * cfg.bands,
        "patch_size": cfg.patch,
        "patch_stride": [cfg.patch, cfg.patch],
        "patch_embeds_hidden_size": cfg.audio_width,
        "hidden_size": cfg.audio_width << (cfg.audio_stages - 1),
        "depths": [cfg.audio_blocks] * cfg.audio_stages,
        "num_attention_heads": [cfg.audio_heads << stage for stage in range(cfg.audio_stages)],
        "num_hidden_layers": cfg.audio_stages,
        "window_size": cfg.audio_window,
        "hidden_dropout_prob": cfg.dropout,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": cfg.text_width,
        "intermediate_size": 4 * cfg.text_width,
        "num_hidden_layers": cfg.text_layers,
        "num_attention_heads": cfg.text_heads,
        "hidden_dropout_prob": cfg.dropout,
        "attention_probs_dropout_prob": cfg.dropout,
        # Positions are counted from the one after the padding token's number.
        "max_position_embeddings": cfg.text_length + tokenizer.pad_token_id + 1,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    towers = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=cfg.projection))
    return with_global_statistics(towers)


def _of_checkpoint(place: str, rate: int) -> ClapProcessor:
    processor = ClapProcessor.from_pretrained(place)
    extractor: ClapFeatureExtractor = processor.feature_extractor
    if extractor.sampling_rate != rate:
        raise ValueError(
            f"data.rate is {rate}, and {place} hears {extractor.sampling_rate} samples a second: set data.rate to that."
        )
    if extractor.truncation != "rand_trunc":
        raise ValueError(f"{place} fuses several cuts of long sounds, drawn by chance: take an unfused checkpoint.")
    return processor
