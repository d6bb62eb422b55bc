"""BERT-flow: Li et al. 2020, arXiv 2011.05864."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modalities.task import Batch, Task
from modalities.text.normalizing_flow import NormalizingFlow, NormalizingFlowConfig

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FlowConfig:
    """Options of the flow."""

    blocks: int = 8
    """Invertible blocks."""
    hidden: int = 128
    """Width of the layer in each block's coupling."""

    def __post_init__(self) -> None:
        for name in ("blocks", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"flow.{name} {getattr(self, name)} must be at least 1.")


class Flow(Task):
    """Turn frozen sentence vectors into ones that are spread like a Gaussian, by maximum likelihood.

    The encoder that made the vectors stays as it is; what is trained and saved is the flow, a model that ships its own
    file (`AutoModel.from_pretrained(folder, trust_remote_code=True)`), to be read behind the sentence encoder.

    Batch: vectors (n, d).
    """

    encoder: NormalizingFlow

    def __init__(self, vectors: Floats, cfg: FlowConfig) -> None:
        """vectors: (n, d) of training; their mean and spread are where the flow starts from."""
        super().__init__()
        self.encoder = NormalizingFlow(
            NormalizingFlowConfig(width=vectors.shape[1], blocks=cfg.blocks, hidden=cfg.hidden)
        )
        first, sample = self.encoder.blocks[0], torch.from_numpy(vectors.astype(np.float64))
        with torch.no_grad():
            first.shift.copy_(-sample.mean(0))
            first.log_scale.copy_(-sample.std(0).clamp_min(1e-6).log())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss"}: minus the log-likelihood in nats per dimension."""
        out = self.encoder(batch["vectors"])
        z, change = out["vectors"], out["log_determinant"]
        nats = 0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi)) - change  # (n,)
        return {"loss": nats.mean() / z.shape[1]}

    def encode(self, batch: Batch) -> Tensor:
        """The vectors on the Gaussian's side, (n, d)."""
        return self.encoder(batch["vectors"])["vectors"]  # type: ignore[no-any-return]


def vectors_collate(rows: Sequence[Floats], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
    """Rows of an array (m, d) -> {"vectors": (n, d)}."""
    return {"vectors": torch.from_numpy(np.stack(rows))}
