"""COLA, contrastive learning of general-purpose audio representations: Saeed et al. 2020, arXiv 2010.10915."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.audio.augment import AugmentConfig
from modalities.audio.spectrogram_encoder import SpectrogramConfig, SpectrogramTask
from modalities.task import Batch
from objectives.contrastive import info_nce
from objectives.gather import gather, rank


@dataclass(frozen=True)
class COLAConfig:
    """How two stretches of a recording are compared."""

    width: int = 512
    """Width of the projection."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"task.width is {self.width}; it must be at least 1.")


class COLA(SpectrogramTask):
    """Tell which of all stretches comes from the same recording, by a bilinear product of the two.

    Training batches: audio (n, 2, t), lengths (n, 2), seeds (n,): two stretches of each recording. Of recordings no
    longer than a stretch both are the whole recording, and only `augments` makes them differ: the paper, whose
    recordings are ten times as long as its stretches, needs none.
    """

    coupled = True

    def __init__(
        self, model: SpectrogramConfig, augments: AugmentConfig, cfg: COLAConfig, seconds: float, rate: int
    ) -> None:
        super().__init__(model, augments, seconds, rate)
        self.projection = nn.Sequential(nn.Linear(self.width, cfg.width), nn.LayerNorm(cfg.width), nn.Tanh())
        self.product = nn.Linear(cfg.width, cfg.width, bias=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Projections of the first and of the second stretches, (n, d) each."""
        views = [self.seen(batch, place) for place in range(2)]
        spectrograms, lengths = (torch.cat(part) for part in zip(*views, strict=True))  # (2n, f, bands), (2n,)
        first, second = self.projection(self.pooled(spectrograms, lengths)).chunk(2)
        return first, second

    def loss_from(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """Cross-entropy over the second stretches of all processes."""
        queries, keys = self.product(first), gather(second)
        own = rank() * len(first) + torch.arange(len(first), device=first.device)
        with torch.no_grad():
            accuracy = ((queries @ keys.T).argmax(1) == own).to(queries.dtype).mean()
        return {"loss": info_nce(queries, keys, 1.0, own, normalize=False), "accuracy": accuracy}
