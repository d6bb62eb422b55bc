"""The supervised bound: the same architecture trained on the labels that self-supervised methods do without."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.feature_extraction_utils import FeatureExtractionMixin

from modalities.audio.alignment import frame_labels
from modalities.audio.collate import WindowCollate
from modalities.audio.rows import Row
from modalities.audio.task import AudioTask, mean_of_real
from modalities.task import Batch
from objectives.precision import widen

NONE = -1  # label of a frame that has none


class PhoneClassifier(AudioTask):
    """A linear layer on single frames of the last layer, all of it trained: which phone is heard.

    Batch: audio, lengths, and labels int64 (n, f), -1 where a frame has none; more frames than the encoder has are cut.
    """

    encoder: AudioTask  # type: ignore[assignment]

    def __init__(self, encoder: AudioTask, classes: int) -> None:
        super().__init__()
        self.encoder, self.rate, self.hop = encoder, encoder.rate, encoder.hop
        self.head = nn.Linear(_freeze_unused(encoder), classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "count"}: means over the labelled frames, and how many those are."""
        scores = self.scores(batch["audio"], batch["lengths"])  # (n, f, c)
        labels = batch["labels"][:, : scores.shape[1]]  # (n, f)
        known = labels != NONE
        count = known.sum().to(scores.dtype)
        losses = F.cross_entropy(widen(scores).flatten(0, 1), labels.flatten(), ignore_index=NONE, reduction="sum")
        right = (scores.argmax(-1) == labels) & known
        return {"loss": losses / count.clamp(min=1), "accuracy": right.sum() / count.clamp(min=1), "count": count}

    def scores(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Of the classes for every frame, (n, f, c), from audio (n, t)."""
        scores: Tensor = self.head(_last(self.encoder.layers(audio, lengths)))
        return scores

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Those of the encoder."""
        return self.encoder.layers(audio, lengths)

    def frames(self, lengths: Tensor) -> Tensor:
        """Those of the encoder."""
        return self.encoder.frames(lengths)

    def export(self) -> PreTrainedModel:
        """The encoder's."""
        return self.encoder.export()

    def feature_extractor(self) -> FeatureExtractionMixin:
        """The encoder's."""
        return self.encoder.feature_extractor()


class ClipClassifier(PhoneClassifier):
    """A linear layer on the mean over the frames of the last layer: the speaker, class or language of a recording.

    Batch: audio, lengths, and labels int64 (n,).
    """

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"} of the batch."""
        scores = self.scores(batch["audio"], batch["lengths"])
        right = scores.argmax(1) == batch["labels"]
        return {"loss": F.cross_entropy(widen(scores), batch["labels"]), "accuracy": right.to(scores.dtype).mean()}

    def scores(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Of the classes, (n, c), from audio (n, t)."""
        scores: Tensor = self.head(mean_of_real(_last(self.encoder.layers(audio, lengths)), self.frames(lengths)))
        return scores


class PhoneCollate:
    """Stretches with the phone of every frame, as the place of its name in `phones`."""

    def __init__(self, collate: WindowCollate, hop: float, phones: Sequence[str]) -> None:
        self.collate, self.hop = collate, hop
        self.places = {name: place for place, name in enumerate(phones)}

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """What `collate` gives, and labels int64 (n, f): -1 where a frame is past the recording's end, where its phone
        is not in `phones`, and in recordings whose phones are not known."""
        batch, rows = self.collate.with_rows(rows, seeds)
        step = round(self.hop * self.collate.rate)  # samples of a frame
        frames = -(-self.collate.samples // step)
        labels = torch.full((len(rows), frames), NONE)
        for place, row in enumerate(rows):
            if row["phones"] is not None:
                real = int(batch["lengths"][place]) // step
                names = frame_labels(row["phones"], self.hop, real, float(batch["starts"][place]))
                labels[place, :real] = torch.tensor([self.places.get(name, NONE) for name in names], dtype=torch.long)
        return batch | {"labels": labels}


class ClipCollate:
    """Stretches with one label for each recording: its class, or its speaker."""

    def __init__(self, collate: WindowCollate, of: str) -> None:
        assert of in ("label", "speaker")
        self.collate, self.of = collate, of

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """What `collate` gives, and labels int64 (n,)."""
        batch, rows = self.collate.with_rows(rows, seeds)
        found: list[Any] = [row[self.of] for row in rows]  # type: ignore[literal-required]
        return batch | {"labels": torch.tensor(found)}


def _last(layers: dict[str, Tensor]) -> Tensor:
    return list(layers.values())[-1]  # (n, f, d)


def _freeze_unused(encoder: AudioTask) -> int:
    """Freezes what the frames of the last layer do not depend on (heads, quantisers, other towers), for weights that
    never have a gradient stop DistributedDataParallel; gives the width of the frames."""
    time = torch.arange(encoder.rate, dtype=encoder.dtype)
    audio = torch.sin(time**1.5 / 50)[None]  # one second; not random, which would move the generator
    encoder.eval()  # batch norms shall not count it
    frames = _last(encoder.layers(audio, torch.tensor([len(time)])))
    encoder.train()
    weights = [weight for weight in encoder.parameters() if weight.requires_grad]
    for weight, gradient in zip(weights, torch.autograd.grad(frames.sum(), weights, allow_unused=True), strict=True):
        weight.requires_grad_(gradient is not None)
    return frames.shape[-1]
