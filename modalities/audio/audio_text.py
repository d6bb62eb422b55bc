"""CLAP: Elizalde et al. 2022, arXiv 2206.04769, and Wu et al. 2022, arXiv 2211.06687."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ClapModel, ClapProcessor

from modalities.audio.augment import AugmentConfig, augment, hide
from modalities.audio.clap_features import spectrograms
from modalities.task import Batch, Task
from objectives import tiled
from objectives.contrastive import clip
from objectives.diagnostics import embedding_std
from objectives.gather import gather, rank, world_size

_LARGEST_LOG_SCALE = math.log(100.0)
_LARGE_BATCH = 1024


class AudioText(Task):
    """Match each sound to its description among all of the global batch, and each description to its sound: CLIP's
    objective itself, with one scale for both directions.

    Args:
        towers: `ClapModel` without fusion. Its second scale, which the stock class applies to the texts' direction,
            follows the first.
        processor: saved beside the towers; its feature extractor says how the spectrogram is made.
        views: how sounds are changed in training.

    Batch: audio (n, t) and lengths (n,); input_ids and attention_mask (n, l); ids (n, k), what the descriptions of a
    pair are: pairs that share one are not held against each other; seeds (n,) in training, for the views.
    """

    coupled = True
    encoder: ClapModel

    def __init__(self, towers: ClapModel, processor: ClapProcessor, views: AugmentConfig | None = None) -> None:
        super().__init__()
        hears: Any = towers.config.audio_config
        assert not hears.enable_fusion, "fused checkpoints draw their cuts by chance"
        self.encoder = towers
        self.encoder.logit_scale_t.requires_grad_(False)
        self.processor = processor
        self.views = AugmentConfig() if views is None else views

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "logit_scale", "audio_std", "text_std"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Sounds (n, d), texts (n, d) and ids (n, k)."""
        features = self.encode(batch)
        return features["audio"], features["text"], batch["ids"]

    def loss_from(self, audio: Tensor, text: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """Local rows against the gathered ones of all processes."""
        scale, others = self.encoder.logit_scale_a, dict[str, Any]()
        all_ids, first = joined(gather(ids)), rank() * len(ids)  # (m,)
        if world_size() > 1:
            others = {"all_image": gather(audio), "all_text": gather(text), "all_ids": all_ids, "offset": first}
        form = tiled.clip if len(audio) * world_size() >= _LARGE_BATCH else clip
        return {
            "loss": form(audio, text, scale, all_ids[first : first + len(ids)], **others),
            "logit_scale": scale.detach().exp(),
            # Near 0 when the embeddings have collapsed onto one point, near 1/sqrt(d) when they fill the sphere.
            "audio_std": embedding_std(audio.detach()),
            "text_std": embedding_std(text.detach()),
        }

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """{"audio": (n, d), "text": (n, d)}, projected, of length 1; each only where its inputs are there."""
        features = {}
        if "audio" in batch:
            features["audio"] = self.encoder.get_audio_features(self.features(batch)).pooler_output
        if "input_ids" in batch:
            out = self.encoder.get_text_features(batch["input_ids"], attention_mask=batch["attention_mask"])
            features["text"] = out.pooler_output
        return features

    def features(self, batch: Batch) -> Tensor:
        """What the audio tower takes, (n, 1, f, bands): of views in training, where the batch has seeds."""
        audio, lengths, extractor = batch["audio"], batch["lengths"], self.processor.feature_extractor
        if "seeds" not in batch:
            return spectrograms(audio, lengths, extractor).to(self.encoder.dtype)
        audio, lengths = augment(audio, lengths, batch["seeds"], self.views, extractor.sampling_rate)
        heard = spectrograms(audio, lengths, extractor)[:, 0]  # (n, f, bands)
        middle = heard.mean((1, 2), keepdim=True)  # what is hidden is as loud as the sound on average
        frames = torch.full_like(lengths, heard.shape[1])
        hidden = hide(heard - middle, frames, batch["seeds"], self.views) + middle
        return hidden[:, None].to(self.encoder.dtype)

    def after_step(self, progress: float) -> None:
        """Keep the scale between 1 and 100, and the stock class's second one equal to it."""
        self.encoder.logit_scale_a.data.clamp_(0.0, _LARGEST_LOG_SCALE)
        self.encoder.logit_scale_t.data.copy_(self.encoder.logit_scale_a.data)

    def save(self, folder: Path) -> None:
        """Towers and processor, for `ClapModel.from_pretrained` and `ClapProcessor.from_pretrained`."""
        super().save(folder)
        # What the tokenizer was last asked for would be saved with it, and a processor hands that on to the sounds too:
        # they would be cut to as many samples as a description has tokens.
        self.processor.tokenizer.backend_tokenizer.no_truncation()
        self.processor.tokenizer.backend_tokenizer.no_padding()
        self.processor.save_pretrained(folder)


def joined(ids: Tensor) -> Tensor:
    """One id (m,) for the k of each row (m, k): equal for rows that share one, directly or through others. It is the
    smallest place of such a row."""
    values = ids.unique(return_inverse=True)[1]  # (m, k)
    names, before = torch.arange(len(ids), device=ids.device), None
    while before is None or not torch.equal(names, before):
        before = names
        # The smallest name among the rows that have a value, for each value; then the smallest of a row's values.
        smallest = names.new_full((ids.numel(),), len(ids)).scatter_reduce(
            0, values.flatten(), names.repeat_interleave(ids.shape[1]), "amin"
        )
        names = smallest[values].amin(1)
    return names
