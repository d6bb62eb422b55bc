"""CTC: Graves et al. 2006 (ICML), on pretrained encoders as wav2vec 2.0 does it: Baevski et al. 2020, arXiv 2006.11477,
section 3.3."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    HubertForCTC,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    Wav2Vec2Processor,
)

from modalities.audio.backbones import (
    ModelConfig,
    build_config,
    build_feature_extractor,
    checkpoint_config,
    frames_of,
    hop_of,
    load_checkpoint,
)
from modalities.audio.frame_encoder import contextual, conv_features, frame_features, normalised, project, real_frames
from modalities.audio.span_masks import span_mask
from modalities.audio.task import AudioTask
from modalities.task import Batch
from objectives.precision import full_precision
from objectives.predictive import IGNORE

_MASKS = 1  # stream of draws
_STOCK: dict[str, Any] = {"wav2vec2": (Wav2Vec2ForCTC, Wav2Vec2Model), "hubert": (HubertForCTC, HubertModel)}


@dataclass(frozen=True)
class CTCConfig:
    """How transcripts are learnt."""

    masked: float = 0.05
    """Share of the frames to hide while training, about, in spans (SpecAugment, arXiv 1904.08779)."""
    span: int = 10
    """Frames of a hidden span."""
    freeze_convolutions: bool = True
    """With model.start_from: leave the convolutions as they are, as the paper does. New ones are always trained."""

    def __post_init__(self) -> None:
        if not 0 <= self.masked < 1:
            raise ValueError(f"task.masked is {self.masked:g}; it must be at least 0 and below 1.")
        if self.span < 1:
            raise ValueError(f"task.span is {self.span}; it must be at least 1 frame.")


class CTC(AudioTask):
    """Spell what is said: a linear layer on the frames, and the probability of a text is that of all ways to spread its
    characters over them.

    Batch: audio (n, t), lengths (n,), seeds (n,), and labels (n, l), -100 at padding. The loss is in nats per
    character: summed over all utterances, divided by all their characters.
    """

    encoder: PreTrainedModel

    def __init__(self, model: ModelConfig, tokenizer: Wav2Vec2CTCTokenizer, rate: int, cfg: CTCConfig) -> None:
        super().__init__()
        self.encoder = build_ctc(model, tokenizer)
        self.tokenizer, self.rate, self.cfg = tokenizer, rate, cfg
        self.hop = hop_of(self.encoder.config) / rate
        if model.start_from and cfg.freeze_convolutions:
            self.encoder.base_model.feature_extractor.requires_grad_(False)
        self._leave_mask_unused()

    def forget(self) -> None:
        """New weights everywhere, from torch's global generator, and all of them trained: what pretraining is compared
        with."""
        self.encoder = type(self.encoder)(self.encoder.config).train()
        self._leave_mask_unused()

    def _leave_mask_unused(self) -> None:
        self.encoder.base_model.masked_spec_embed.requires_grad_(self.cfg.masked > 0)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "blank", "count"}: nats per character, the share of frames that say nothing, and the characters."""
        scores = self.scores(batch["audio"], batch["lengths"], batch["seeds"] if self.training else None)  # (n, f, c)
        frames, known = self.frames(batch["lengths"]), batch["labels"] != IGNORE
        characters = known.sum(dim=1)  # (n,)
        total = ctc_loss(scores, batch["labels"].clamp(min=0), frames, characters, self.blank)
        real = torch.arange(scores.shape[1], device=scores.device) < frames[:, None]  # (n, f)
        silent = (scores.argmax(-1) == self.blank)[real].to(total.dtype).mean()
        count = characters.sum()
        return {"loss": total / count.clamp(min=1), "blank": silent, "count": count}

    def scores(self, audio: Tensor, lengths: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Logits of every character at every frame, (n, f, c), from raw audio (n, t). With seeds, spans are hidden."""
        body: Any = self.encoder.base_model
        features = conv_features(body, normalised(audio, lengths))
        hidden = project(body, features)[0]  # (n, f, d)
        if seeds is not None and self.cfg.masked:
            hide = self.hidden(seeds, lengths, hidden.shape[1])[:, :, None]
            hidden = torch.where(hide, body.masked_spec_embed.to(hidden.dtype), hidden)
        last = contextual(body, hidden, real_frames(body, lengths, hidden.shape[1]))[-1]
        scores: Tensor = self.encoder.lm_head(self.encoder.dropout(last))
        return scores

    def hidden(self, seeds: Tensor, lengths: Tensor, frames: int) -> Tensor:
        """Which of the `frames` to hide, (n, f) bool: about a share of `task.masked`, in spans that may overlap."""
        span = self.cfg.span
        start = 1 - (1 - self.cfg.masked) ** (1 / span)  # a frame is seen if none of `span` frames begins a span
        return span_mask(seeds, self.frames(lengths), frames, start, span, 0, _MASKS)

    @property
    def blank(self) -> int:
        """The token of a frame that says nothing."""
        return int(self.encoder.config.pad_token_id)

    @torch.no_grad()
    def transcribe(self, batch: Batch) -> list[str]:
        """The text of the likeliest token of each frame, repeats and blanks left out."""
        best = self.scores(batch["audio"], batch["lengths"]).argmax(-1)  # (n, f)
        frames = self.frames(batch["lengths"]).tolist()
        return [self.tokenizer.decode(row[:count]) for row, count in zip(best.tolist(), frames, strict=True)]

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Those of the convolutions and of the Transformer."""
        return frame_features(self.encoder.base_model, audio, lengths)

    def frames(self, lengths: Tensor) -> Tensor:
        """How many are not padding, (n,)."""
        return frames_of(self.encoder.config, lengths)

    def feature_extractor(self) -> Wav2Vec2FeatureExtractor:
        """Samples to input."""
        return build_feature_extractor(self.encoder.config, self.rate)

    def save(self, folder: Path) -> None:
        """Write the model, and the processor that makes its input and reads its output."""
        super().save(folder)
        Wav2Vec2Processor(self.feature_extractor(), self.tokenizer).save_pretrained(folder)


@full_precision
def ctc_loss(scores: Tensor, labels: Tensor, frames: Tensor, characters: Tensor, blank: int) -> Tensor:
    """Negative log probability of the texts, summed, in nats: infinite where one has more characters than frames.

    scores (n, f, c); labels (n, l), read up to `characters` (n,); frames (n,).
    """
    said = scores.log_softmax(-1).transpose(0, 1)  # (f, n, c)
    return F.ctc_loss(said, labels, frames, characters, blank, reduction="sum")


def build_ctc(model: ModelConfig, tokenizer: Wav2Vec2CTCTokenizer) -> PreTrainedModel:
    """`Wav2Vec2ForCTC` or `HubertForCTC` with a new head, on new weights or on those of a checkpoint.

    Raises:
        ValueError: for a checkpoint that cannot be loaded or is of another family.
    """
    head = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "ctc_loss_reduction": "mean",
            "bos_token_id": None, "eos_token_id": None}  # fmt: skip
    if not model.start_from:
        return Wav2Vec2ForCTC(build_config(model, "wav2vec2", **head)).train()
    config = checkpoint_config(model.start_from, *_STOCK)
    config.update(head)
    heads, body = _STOCK[config.model_type]
    trunk = load_checkpoint(body, config, model.start_from)  # without its head, whatever that was
    encoder: PreTrainedModel = heads(config)
    setattr(encoder, encoder.base_model_prefix, trunk)
    return encoder.train()
