"""Multi-format contrast: Wang and van den Oord 2021, arXiv 2103.06508."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model
from transformers.utils import logging

from modalities.audio import backbones
from modalities.audio.augment import AugmentConfig
from modalities.audio.frame_encoder import frame_features
from modalities.audio.spectrogram_encoder import SpectrogramConfig, SpectrogramTask
from modalities.audio.task import mean_of_real
from modalities.task import Batch
from objectives.contrastive import info_nce
from objectives.gather import gather, rank

_WAVEFORM = "waveform"  # sub-folder


@dataclass(frozen=True)
class MultiFormatConfig:
    """The encoder of waveforms, and how the two formats are compared."""

    temperature: float = 0.1
    """Divides the cosines."""
    projection: int = 128
    """Width in which the formats are compared."""
    conv_width: int = 32
    """waveform: channels of the seven convolutions that turn 20 ms into a frame."""
    width: int = 128
    """waveform: width of a frame in the Transformer, a multiple of 16."""
    layers: int = 2
    """waveform: Transformer layers."""
    heads: int = 4
    """waveform: attention heads."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"task.temperature is {self.temperature:g}; it must be above 0.")
        for name in ("projection", "conv_width", "width", "layers", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least 1.")
        for factor in (self.heads, 16):
            if self.width % factor:
                raise ValueError(f"task.width is {self.width}; it must be a multiple of task.heads and of 16.")


class MultiFormat(SpectrogramTask):
    """Find the spectrogram of one stretch among all by the waveform of another, and the waveform by the spectrogram.

    Training batches: audio (n, 2, t), lengths (n, 2), seeds (n,): two stretches of each recording; the first is heard
    as a waveform, the second as a spectrogram, each in a view of its own. The encoder of spectrograms is `encoder` and
    what `save` writes; that of waveforms, a stock `Wav2Vec2Model`, lies in the sub-folder waveform.
    """

    coupled = True

    def __init__(
        self, model: SpectrogramConfig, augments: AugmentConfig, cfg: MultiFormatConfig, seconds: float, rate: int
    ) -> None:
        super().__init__(model, augments, seconds, rate)
        self.cfg = cfg
        shape = backbones.ModelConfig(
            conv_width=cfg.conv_width,
            width=cfg.width,
            layers=cfg.layers,
            heads=cfg.heads,
            feed_forward=4 * cfg.width,
        )
        self.waveform = Wav2Vec2Model(backbones.build_config(shape, "wav2vec2"))
        self.waveform.masked_spec_embed.requires_grad_(False)  # nothing is masked
        self.heads = nn.ModuleList(_head(width, cfg.projection) for width in (cfg.width, self.width))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Projections of the waveforms and of the spectrograms, (n, d) each."""
        heard, lengths = self.view(batch, 0)
        frames = _last(frame_features(self.waveform, heard, lengths))  # (n, f, d)
        waveforms = mean_of_real(frames, backbones.frames_of(self.waveform.config, lengths))
        return self.heads[0](waveforms), self.heads[1](self.pooled(*self.seen(batch, 1)))

    def loss_from(self, waveforms: Tensor, spectrograms: Tensor) -> dict[str, Tensor]:
        """The mean of the two directions, against the other format of all processes."""
        own = rank() * len(waveforms) + torch.arange(len(waveforms), device=waveforms.device)
        all_waveforms, all_spectrograms = gather(waveforms), gather(spectrograms)
        losses = [
            info_nce(queries, keys, self.cfg.temperature, own)
            for queries, keys in ((waveforms, all_spectrograms), (spectrograms, all_waveforms))
        ]
        with torch.no_grad():
            cosines = waveforms @ nn.functional.normalize(all_spectrograms, dim=-1).to(waveforms).T
            accuracy = (cosines.argmax(1) == own).to(waveforms.dtype).mean()
        return {"loss": (losses[0] + losses[1]) / 2, "accuracy": accuracy}

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Those of both encoders, the spectrogram's last; a waveform's frames are brought to the places of the
        spectrogram's."""
        seen = super().layers(audio, lengths)
        heard = frame_features(self.waveform, audio.to(self.dtype), lengths)
        count = _last(seen).shape[1]
        return {f"waveform {name}": self._placed(frames, count) for name, frames in heard.items()} | seen

    def _placed(self, frames: Tensor, count: int) -> Tensor:
        """(n, f, d) at 20 ms -> (n, count, d), the mean of what lies in the time of each frame of the spectrogram; the
        last one is held where there is none."""
        together = max(1, round(self.hop / 0.02))
        missing = -frames.shape[1] % together
        held = torch.cat([frames, frames[:, -1:].expand(-1, missing, -1)], dim=1)
        means = held.unflatten(1, (-1, together)).mean(2)[:, :count]
        return torch.cat([means, means[:, -1:].expand(-1, count - means.shape[1], -1)], dim=1)

    def save(self, folder: Path) -> None:
        """The encoder of spectrograms, and in the sub-folder waveform that of waveforms; each with its extractor."""
        super().save(folder)
        logging.disable_progress_bar()
        self.waveform.save_pretrained(folder / _WAVEFORM)
        self.waveform_extractor().save_pretrained(folder / _WAVEFORM)
        logging.enable_progress_bar()

    def waveform_extractor(self) -> Wav2Vec2FeatureExtractor:
        """The stock feature extractor of waveforms: zero mean and unit variance."""
        return backbones.build_feature_extractor(self.waveform.config, self.rate)


def _head(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


def _last(layers: dict[str, Tensor]) -> Tensor:
    return list(layers.values())[-1]  # (n, f, d)
