"""Encoders of log-mel spectrograms that stock classes load, and what all methods on spectrograms share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel, PreTrainedModel, ResNetConfig, ResNetModel

from modalities.audio.augment import AugmentConfig, augment, hide
from modalities.audio.filter_bank import HOP, RATE, WINDOW, filter_bank, frames_of, samples_of
from modalities.audio.task import AudioTask, Panels, mean_of_real
from modalities.task import Batch
from modalities.vision.batch_norm import with_global_statistics

_STRIDE = 4  # frames of the spectrogram to one of a ResNet's first stage


@dataclass(frozen=True)
class SpectrogramConfig:
    """Shape of an encoder of spectrograms."""

    kind: Literal["resnet", "ast"] = "resnet"
    """resnet (1512.03385; spectrograms are pictures of one channel) or ast (2104.01778; a Transformer on patches)."""
    bands: int = 64
    """Mel bands."""
    width: int = 32
    """resnet: channels of the first stage, doubled in each of the next. ast: width of a patch."""
    depth: int = 1
    """resnet: blocks in each of the four stages. ast: layers."""
    heads: int = 4
    """ast: attention heads."""
    patch: int = 16
    """ast: side of a patch, in bands and in frames of 10 ms; patches do not overlap."""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.bands < 4:
            raise ValueError(f"model.bands is {self.bands}; filter banks have at least 4.")
        if self.kind == "ast" and self.width % self.heads:
            raise ValueError(f"model.width {self.width} is not a multiple of model.heads {self.heads}.")
        if self.kind == "ast" and self.bands < self.patch:
            raise ValueError(f"model.patch {self.patch} is higher than the spectrogram's model.bands {self.bands}.")


class SpectrogramTask(AudioTask):
    """A method whose encoder takes log-mel spectrograms, made as the published `ASTFeatureExtractor` makes them.

    An AST takes its `input_values` as they are, and has positions for `seconds`: of longer recordings it hears the
    beginning. A ResNet takes them as `pixel_values=input_values[:, None]` and has no longest recording; there it is
    the extractor that cuts, to its `max_length` frames, which may be set.

    Args:
        model: shape of the encoder; weights come from torch's global generator.
        augments: how a view differs from its stretch.
        seconds: of the stretches that are trained on, to which the extractor cuts or pads.
        rate: of the data.

    Raises:
        ValueError: for a rate other than the extractor's, or stretches shorter than a frame or patch.
    """

    encoder: ResNetModel | ASTModel

    def __init__(self, model: SpectrogramConfig, augments: AugmentConfig, seconds: float, rate: int) -> None:
        super().__init__()
        if rate != RATE:
            raise ValueError(f"data.rate is {rate}; ASTFeatureExtractor, which is published, is made for {RATE} alone.")
        shortest = samples_of(model.patch if model.kind == "ast" else 1) / RATE
        if seconds < shortest:
            raise ValueError(f"seconds is {seconds:g}; model.kind {model.kind} needs at least {shortest:g}.")
        self.model, self.augments, self.rate = model, augments, rate
        self.longest = int(frames_of(torch.tensor(round(seconds * RATE))))
        self.encoder = build_encoder(model, self.longest)
        self.stride = _STRIDE if model.kind == "resnet" else model.patch
        self.hop = self.stride * HOP / RATE

    @property
    def width(self) -> int:
        """Of a frame of the last layer."""
        return self.encoder.config.hidden_sizes[-1] if self.model.kind == "resnet" else self.encoder.config.hidden_size

    def view(self, batch: Batch, place: int) -> tuple[Tensor, Tensor]:
        """A random view of stretch `place` of every recording: audio (n, t) and lengths (n,)."""
        audio, lengths = batch["audio"][:, place].to(self.dtype), batch["lengths"][:, place]
        return augment(audio, lengths, batch["seeds"], self.augments, self.rate, place)

    def seen(self, batch: Batch, place: int) -> tuple[Tensor, Tensor]:
        """The spectrogram of that view, partly hidden, (n, f, bands), and the view's lengths (n,)."""
        audio, lengths = self.view(batch, place)
        spectrogram = self.spectrogram(audio, lengths)
        return hide(spectrogram, frames_of(lengths), batch["seeds"], self.augments, place), lengths

    def pooled(self, spectrogram: Tensor, lengths: Tensor) -> Tensor:
        """The mean over the real frames of the last layer, (n, d), as `encode` has it."""
        return mean_of_real(list(self.states(spectrogram).values())[-1], self.frames(lengths))

    def spectrogram(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Of audio (n, t): (n, f, bands), normalised. An AST's has exactly the frames that it has positions for."""
        fewest = samples_of(self.longest) if self.model.kind == "ast" else WINDOW
        audio = F.pad(audio, (0, max(0, fewest - audio.shape[1])))
        if self.model.kind == "ast":
            audio = audio[:, :fewest]
        return filter_bank(audio.to(self.dtype), lengths, self.model.bands)

    def states(self, spectrogram: Tensor) -> dict[str, Tensor]:
        """Frame features of every layer, from spectrograms (n, f, bands): {name: (n, g, d)}."""
        if self.model.kind == "resnet":
            maps = self.encoder(spectrogram[:, None], output_hidden_states=True).hidden_states[1:]  # (n, d, g, b) each
            count = maps[0].shape[2]
            places = [one.mean(3).repeat_interleave(2**i, dim=2)[..., :count] for i, one in enumerate(maps)]
            return {f"stage {i}": one.transpose(1, 2) for i, one in enumerate(places, 1)}
        out = self.encoder(spectrogram, output_hidden_states=True)
        states = [*out.hidden_states[1:-1], out.last_hidden_state]
        high = self.model.bands // self.model.patch
        # After the class and the distillation token come the patches, those of the lowest bands first.
        return {f"layer {i}": one[:, 2:].unflatten(1, (high, -1)).mean(1) for i, one in enumerate(states, 1)}

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """The mean over the bands of every stage or layer; later stages repeat theirs."""
        return self.states(self.spectrogram(audio, lengths))

    def frames(self, lengths: Tensor) -> Tensor:
        """A frame counts where any of the spectrogram's that it stands for is real."""
        found = frames_of(lengths)
        if self.model.kind == "ast":
            most = self.longest // self.stride
            return torch.div(found, self.stride, rounding_mode="floor").clamp(1, most)
        return torch.div(found + self.stride - 1, self.stride, rounding_mode="floor").clamp(min=1)

    def inputs(self, recordings: Sequence[NDArray[np.float32]]) -> dict[str, Tensor]:
        """What `export()` takes of raw samples, (t,) each: input_values of an AST, pixel_values of a ResNet."""
        made = super().inputs(recordings)["input_values"]  # (n, f, bands)
        return {"pixel_values": made[:, None]} if self.model.kind == "resnet" else {"input_values": made}

    def illustrate(self, batch: Batch) -> Panels:
        """Both views of every recording, with the frames that are hidden in the spectrogram."""
        panels: Panels = {}
        for place, title in enumerate(("a view", "another view")):
            hidden = (self.seen(batch, place)[0] == 0).all(2)  # (n, f)
            panels[title] = (self.view(batch, place)[0], hidden)
        return panels

    def feature_extractor(self) -> ASTFeatureExtractor:
        """Stock; see the class for how a ResNet takes what it makes."""
        return ASTFeatureExtractor(num_mel_bins=self.model.bands, max_length=self.longest, sampling_rate=RATE)


def build_encoder(cfg: SpectrogramConfig, frames: int) -> PreTrainedModel:
    """A `ResNetModel` of one channel, or an `ASTModel` with positions for so many frames."""
    if cfg.kind == "resnet":
        sizes = [cfg.width * 2**stage for stage in range(4)]
        shape = {"embedding_size": cfg.width, "hidden_sizes": sizes, "depths": [cfg.depth] * 4}
        return with_global_statistics(ResNetModel(ResNetConfig(num_channels=1, layer_type="basic", **shape)))
    return ASTModel(
        ASTConfig(
            hidden_size=cfg.width,
            num_hidden_layers=cfg.depth,
            num_attention_heads=cfg.heads,
            intermediate_size=4 * cfg.width,
            patch_size=cfg.patch,
            frequency_stride=cfg.patch,
            time_stride=cfg.patch,
            max_length=frames,
            num_mel_bins=cfg.bands,
        )
    )
