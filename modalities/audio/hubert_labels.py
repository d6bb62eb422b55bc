"""Which cluster each frame belongs to: of cepstra, or of what a former model made of it (HuBERT, arXiv 2106.07447)."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from modalities.audio.backbones import ModelConfig, build_model, frames_of, hop_of, samples_of
from modalities.audio.clusters import Clusters, Frames
from modalities.audio.features import frame_count, mfcc, with_deltas
from modalities.audio.frame_encoder import frame_features, normalised
from modalities.task import Batch

_CEPSTRA = 13


class FrameLabels(nn.Module):
    """Clusters of 39 MFCCs (13, their slopes and the slopes of these), or of a layer of a teacher, which is frozen.

    Label i belongs to the samples from i * 320 to i * 320 + 400, those that frame i of the encoder's convolutions sees.

    Args:
        count: of clusters.
        config: of the encoder that is to guess them.
        rate: of the audio.
        teacher: folder or Hub id of a HuBERT; empty for MFCCs.
        layer: of the teacher, from 1 on.

    Raises:
        ValueError: for a teacher that cannot be loaded, has too few layers, or frames unlike the encoder's.
    """

    teacher: PreTrainedModel | None

    def __init__(self, count: int, config: PretrainedConfig, rate: int, teacher: str = "", layer: int = 1) -> None:
        super().__init__()
        self.config, self.rate, self.layer = config, rate, layer
        self.field = samples_of(config, 1)
        self.step = hop_of(config)
        self.teacher = _load(teacher, layer, config) if teacher else None
        self.clusters = Clusters(count, 3 * _CEPSTRA if self.teacher is None else self.teacher.config.hidden_size)

    def forward(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Audio (n, t) and lengths (n,) -> labels (n, f), int64. Padding has some, too."""
        assert bool(self.clusters.found), "call find_clusters (fit) before training: all frames would be of one cluster"
        found: Tensor = self.clusters(self.described(audio, lengths))
        return found

    @torch.no_grad()
    def described(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """What is clustered: (n, f, d), the same under autocast, for the clusters were found without."""
        with torch.autocast(audio.device.type, enabled=False):
            return self._described(audio, lengths)

    def _described(self, audio: Tensor, lengths: Tensor) -> Tensor:
        if self.teacher is not None:
            return frame_features(self.teacher, audio, lengths)[f"layer {self.layer}"]
        # Twice as many frames as the encoder has, as in the paper, for slopes over steps of 20 ms would be blurred.
        hop, window = self.step / 2 / self.rate, self.field / self.rate
        audio = normalised(audio, lengths)  # what the encoder hears: it cannot know how loud a recording was
        cepstra = mfcc(audio, self.rate, _CEPSTRA, hop, window=window, centred=False)  # (n, 2f, 13)
        return with_deltas(cepstra, frame_count(lengths, self.rate, hop, window=window, centred=False))[:, ::2]

    def fit(self, batches: Iterable[Batch], seed: int) -> int:
        """Cluster the frames of these batches (audio and lengths); returns how many frames there were."""
        return self.clusters.fit(self._real_frames(batches), seed)

    def _real_frames(self, batches: Iterable[Batch]) -> Iterator[Frames]:
        to = self.clusters.centres
        for batch in batches:
            frames = self.described(batch["audio"].to(to), batch["lengths"].to(to.device))
            count = frames_of(self.config, batch["lengths"])
            real = torch.arange(frames.shape[1]) < count[:, None]
            yield frames.cpu()[real].float().numpy()

    def train(self, mode: bool = True) -> Self:
        """As ever, but for the teacher, which never drops anything."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.train(False)
        return self


def _load(name: str, layer: int, config: PretrainedConfig) -> PreTrainedModel:
    """The teacher up to the layer that is clustered, frozen."""
    try:
        teacher: Any = build_model(ModelConfig(start_from=name), "hubert")
    except ValueError as error:
        raise ValueError(str(error).replace("model.start_from", "task.teacher")) from error
    shape = teacher.config
    if layer > shape.num_hidden_layers:
        raise ValueError(f"task.teacher_layer is {layer}, but {name!r} has {shape.num_hidden_layers} layers.")
    for part in ("conv_kernel", "conv_stride"):
        if list(getattr(shape, part)) != list(getattr(config, part)):
            raise ValueError(f"task.teacher {name!r} has another {part} than the model; its frames would not fit.")
    if layer < shape.num_hidden_layers:
        del teacher.encoder.layers[layer:]
        if shape.do_stable_layer_norm:
            teacher.encoder.layer_norm = nn.Identity()  # of the last layer's output alone
    frozen: PreTrainedModel = teacher.requires_grad_(False).eval()
    return frozen
