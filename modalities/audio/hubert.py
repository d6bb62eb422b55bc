"""HuBERT: Hsu et al. 2021, arXiv 2106.07447."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Wav2Vec2FeatureExtractor

from modalities.audio.backbones import ModelConfig, build_feature_extractor, build_model, frames_of, hop_of
from modalities.audio.frame_encoder import contextual, conv_features, frame_features, normalised, project, real_frames
from modalities.audio.hubert_labels import FrameLabels
from modalities.audio.span_masks import span_mask
from modalities.audio.task import AudioTask, Panels
from modalities.task import Batch
from objectives.precision import full_precision
from objectives.predictive import IGNORE, masked_cross_entropy

_MASK = 1  # stream of draws


@dataclass(frozen=True)
class HubertConfig:
    """What is clustered, what is hidden, and how guesses are scored."""

    clusters: int = 100
    """Centres of k-means, the classes that are guessed; 100 in the paper's first iteration, 500 in the second."""
    teacher: str = ""
    """Folder or Hub id of a HuBERT whose frames are clustered: the second iteration. Empty: 39 MFCCs, the first."""
    teacher_layer: int = 1
    """Whose output of the teacher is clustered; of its 12 the paper takes the 6th, and the 9th for a third model."""
    cluster_minutes: float = 15.0
    """Audio in which the clusters are looked for."""
    start: float = 0.08
    """Share of frames at which a hidden span begins."""
    span: int = 10
    """Frames of a span, 20 ms each."""
    unmasked_weight: float = 1.0
    """Weight of a frame that is not hidden, against 1 of a hidden one; 0 in the paper, whose runs are long. What a
    frame says of itself is learnt long before what its neighbours say of it."""
    projection: int = 128
    """Width in which frames and clusters are compared; 256 in the paper."""
    temperature: float = 0.1
    """Divides the cosines."""
    feature_gradient: float = 1.0
    """Factor on the gradient that reaches the convolutions; 0.1 in the official code."""
    feature_penalty: float = 0.0
    """Weight of the mean square of the convolutions' output; 10 in the official code."""

    def __post_init__(self) -> None:
        for name in ("clusters", "teacher_layer", "span", "projection"):
            if getattr(self, name) < (2 if name == "clusters" else 1):
                raise ValueError(f"task.{name} is {getattr(self, name)}; it is too small.")
        for name in ("cluster_minutes", "temperature", "feature_gradient"):
            if getattr(self, name) <= 0:
                raise ValueError(f"task.{name} is {getattr(self, name):g}; it must be above 0.")
        if not 0 < self.start < 1:
            raise ValueError(f"task.start is {self.start:g}; it is a share of the frames, between 0 and 1.")
        for name in ("unmasked_weight", "feature_penalty"):
            if getattr(self, name) < 0:
                raise ValueError(f"task.{name} is {getattr(self, name):g}; it must not be negative.")


PAPER = HubertConfig(
    cluster_minutes=600.0, unmasked_weight=0.0, projection=256, feature_gradient=0.1, feature_penalty=10.0
)
"""The first iteration of the paper's base model."""


class Hubert(AudioTask):
    """Tell to which cluster each hidden frame of speech belongs.

    Labels are worked out in each step, of the very stretch that the step sees: nothing is cached, and a resumed run has
    the clusters in its checkpoint. Before training, `find_clusters` must have been called, once.

    Raises:
        ValueError: for a teacher that cannot be loaded, has too few layers, or other frames.
    """

    def __init__(self, model: ModelConfig, cfg: HubertConfig, rate: int = 16_000) -> None:
        super().__init__()
        self.cfg, self.rate = cfg, rate
        self.encoder = build_model(model, "hubert")
        self.labels = FrameLabels(cfg.clusters, self.encoder.config, rate, cfg.teacher, cfg.teacher_layer)
        self.hop = hop_of(self.encoder.config) / rate
        self.head = nn.Linear(self.encoder.config.hidden_size, cfg.projection)
        self.codes = nn.Parameter(torch.randn(cfg.clusters, cfg.projection))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy" and "accuracy_unmasked" of frames that are hidden and that are not, "labels": the
        perplexity of the clusters in the batch, "count"}."""
        audio, lengths = batch["audio"].to(self.dtype), batch["lengths"]
        features = conv_features(self.encoder, normalised(audio, lengths))  # (n, f, c)
        if features.requires_grad:
            features.register_hook(lambda gradient: gradient * self.cfg.feature_gradient)
        mask, real = self.mask(batch, features.shape[1])  # (n, f) each
        labels = self.labels(audio, lengths)  # (n, f)
        hidden, _ = project(self.encoder, features)
        unknown: Any = self.encoder.masked_spec_embed
        hidden = torch.where(mask[:, :, None], unknown.to(hidden), hidden)
        told = real_frames(self.encoder, lengths, features.shape[1])
        found = self.head(contextual(self.encoder, hidden, told)[-1])  # (n, f, p)

        total, count = masked_cross_entropy(found, labels.masked_fill(~mask, IGNORE), self.scores)
        if self.cfg.unmasked_weight:
            weight = self.cfg.unmasked_weight
            more, others = masked_cross_entropy(found, labels.masked_fill(mask | ~real, IGNORE), self.scores)
            total, count = total + weight * more, count + weight * others
        if self.cfg.feature_penalty:
            # A mean over what is counted, by the same weights: it stays exact on any number of processes.
            weights = mask + self.cfg.unmasked_weight * (real & ~mask)  # (n, f)
            total = total + self.cfg.feature_penalty * (weights * _mean_squares(features)).sum()
        return {"loss": total / count.clamp(min=1), "count": count} | self.watched(found.detach(), labels, mask, real)

    def find_clusters(self, batches: Iterable[Batch], seed: int) -> int:
        """Cluster the frames of these batches; returns how many frames there were."""
        return self.labels.fit(batches, seed)

    def mask(self, batch: Batch, length: int) -> tuple[Tensor, Tensor]:
        """Which frames are hidden, and which are not padding, (n, f) each."""
        frames = self.frames(batch["lengths"])
        mask = span_mask(batch["seeds"], frames, length, self.cfg.start, self.cfg.span, 1, _MASK)
        return mask, torch.arange(length, device=frames.device) < frames[:, None]

    def scores(self, found: Tensor) -> Tensor:
        """Projected frames (k, p) -> logits (k, c): cosines to the codes of the clusters, divided by temperature."""
        return _cosines(found, self.codes) / self.cfg.temperature

    @torch.no_grad()
    def watched(self, found: Tensor, labels: Tensor, mask: Tensor, real: Tensor) -> dict[str, Tensor]:
        """What is logged beside the loss."""
        right = (self.scores(found).argmax(-1) == labels).float()
        share = F.one_hot(labels[real], self.cfg.clusters).float().mean(0)  # (c,)
        return {
            "accuracy": right[mask].sum() / mask.sum().clamp(min=1),
            "accuracy_unmasked": right[real & ~mask].sum() / (real & ~mask).sum().clamp(min=1),
            "labels": torch.special.entr(share).sum().exp(),
        }

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return frame_features(self.encoder, audio.to(self.dtype), lengths)

    def frames(self, lengths: Tensor) -> Tensor:
        return frames_of(self.encoder.config, lengths)

    def feature_extractor(self) -> Wav2Vec2FeatureExtractor:
        return build_feature_extractor(self.encoder.config, self.rate)

    @torch.no_grad()
    def code_use(self, batch: Batch) -> dict[str, Tensor]:
        """Frames of each cluster."""
        audio, lengths = batch["audio"].to(self.dtype), batch["lengths"]
        labels = self.labels(audio, lengths)
        real = torch.arange(labels.shape[1], device=labels.device) < self.frames(lengths)[:, None]
        return {"clusters": torch.bincount(labels[real], minlength=self.cfg.clusters)}

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """What is heard, and what of it is hidden."""
        length = int(frames_of(self.encoder.config, torch.tensor(batch["audio"].shape[1])))
        return {"heard": (batch["audio"], None), "hidden": (batch["audio"], self.mask(batch, length)[0])}


@full_precision
def _cosines(found: Tensor, codes: Tensor) -> Tensor:
    return F.normalize(found, dim=-1) @ F.normalize(codes, dim=-1).T


@full_precision
def _mean_squares(features: Tensor) -> Tensor:
    return features.square().mean(-1)
