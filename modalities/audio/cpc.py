"""Contrastive predictive coding: van den Oord et al. 2018, arXiv 1807.03748."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2FeatureExtractor

from modalities.audio.cpc_model import HOP, CPCModel, CPCModelConfig
from modalities.audio.frame_encoder import normalised
from modalities.audio.task import AudioTask, Panels
from modalities.draws import uniform_on_device
from modalities.task import Batch
from objectives.diagnostics import mutual_information_bound
from objectives.gather import all_reduce, gather, rank, world_size
from objectives.predictive_coding import among_all, among_drawn, to_be_found, within_windows

_NEGATIVES = 1  # stream of draws


@dataclass(frozen=True)
class CPCConfig:
    """Shape of the model, and what is told from what."""

    first_width: int = 64
    """Channels of the first convolution, whose frames are 32 times as many as those of the last."""
    width: int = 128
    """Channels of the other convolutions."""
    context: Literal["gru", "transformer"] = "gru"
    """The net that sums up what was heard; neither hears anything ahead."""
    context_width: int = 128
    """Its width."""
    context_layers: int = 1
    """Its layers."""
    heads: int = 4
    """Of a transformer."""
    steps: int = 12
    """Frames ahead that are predicted, 10 ms each at 16,000 samples a second."""
    negatives: Literal["window", "speaker", "batch"] = "window"
    """Whose frames a frame to be found is told from: of the same window, of all windows of the batch by the same
    speaker (known voices only; a speaker needs several rows in the batch), or of all windows, where to know the voice
    is half of the answer."""
    drawn: int = 0
    """How many of those frames are drawn for each place (the paper's 128); 0 takes them all."""

    def __post_init__(self) -> None:
        for name in ("first_width", "width", "context_width", "context_layers", "heads", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.context not in ("gru", "transformer"):
            raise ValueError(f"task.context is {self.context!r}; choose gru or transformer.")
        if self.context == "transformer" and self.context_width % (2 * self.heads):
            raise ValueError(
                f"task.context_width {self.context_width} is no multiple of twice task.heads {self.heads}; "
                f"{2 * self.heads * max(1, self.context_width // (2 * self.heads))} is."
            )
        if self.negatives not in ("window", "speaker", "batch"):
            raise ValueError(f"task.negatives is {self.negatives!r}; choose window, speaker or batch.")
        if self.drawn < 0:
            raise ValueError(f"task.drawn is {self.drawn}; it must not be negative.")


PAPER = CPCConfig(first_width=512, width=512, context_width=256)


class CPC(AudioTask):
    """From what was heard so far, tell which frame comes 1, ..., 12 steps later.

    The score of a frame z for step k is z W_k c, with the context c and one matrix per step. Downstream takes the model
    without these matrices: c, or z.
    """

    coupled = True

    def __init__(self, cfg: CPCConfig, rate: int = 16_000) -> None:
        super().__init__()
        self.cfg, self.rate, self.hop = cfg, rate, HOP / rate
        self.coupled = cfg.negatives != "window"
        self.encoder = CPCModel(
            CPCModelConfig(
                first_width=cfg.first_width,
                conv_width=cfg.width,
                hidden_size=cfg.context_width,
                context=cfg.context,
                num_hidden_layers=cfg.context_layers,
                num_attention_heads=cfg.heads,
            )
        )
        self.predictors = nn.Linear(cfg.context_width, cfg.steps * cfg.width, bias=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "information", "accuracy_K" for each step K}, and with negatives of the same window
        "count", the predictions that these are means over."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Frames (n, t, d), context (n, t, c), and of each row its frames that are real, speaker and seed, (n,)."""
        heard = self.layers(batch["audio"], batch["lengths"])
        real = self.frames(batch["lengths"])
        return heard["frames"], heard["context"], real, batch["speakers"], batch["seeds"]

    def loss_from(
        self, frames: Tensor, context: Tensor, lengths: Tensor, speakers: Tensor, seeds: Tensor
    ) -> dict[str, Tensor]:
        """The mean over all predictions whose frame is real, of all processes."""
        steps, t = self.cfg.steps, frames.shape[1]
        if t <= steps:
            raise ValueError(
                f"A window of {t} frames leaves none to predict {steps} ahead; take longer ones (seconds above "
                f"{(steps + 1) * self.hop:g}) or fewer task.steps."
            )
        predicted = self.predictors(context[:, : t - steps]).unflatten(2, (steps, -1))  # (n, t - steps, steps, d)
        if self.cfg.negatives == "window" and not self.cfg.drawn:
            losses, right = within_windows(predicted, frames, lengths)  # (n, t - steps, steps)
            candidates = lengths
        else:
            losses, right, candidates = self._among(predicted, frames, lengths, speakers, seeds)
        asked = to_be_found(lengths, t, steps)
        count = asked.sum()
        everyone = all_reduce(count.double()) / world_size() if self.coupled else count
        bounds = mutual_information_bound(losses.detach(), candidates[:, None, None])
        per_step = (right & asked).sum((0, 1)) / asked.sum((0, 1)).clamp(min=1)  # (steps,)
        found = {
            "loss": torch.where(asked, losses, 0.0).sum() / everyone.clamp(min=1).to(losses),
            "information": torch.where(asked, bounds, 0.0).sum() / count.clamp(min=1),
            "accuracy": (right & asked).sum() / count.clamp(min=1),
            **{f"accuracy_{step}": value for step, value in enumerate(per_step.unbind(), start=1)},
        }
        return found if self.coupled else found | {"count": count}

    def _among(
        self, predicted: Tensor, frames: Tensor, lengths: Tensor, speakers: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, whether found, and the number of candidates (n,), where negatives are of many rows or drawn."""
        n, places = predicted.shape[:2]
        pool, offset = (gather(frames), rank() * n) if self.coupled else (frames, 0)  # (N, t, d)
        allowed = self._allowed(lengths, speakers, frames.shape[1])  # (n, N, t)
        if not self.cfg.drawn:
            return *among_all(predicted, pool, ~allowed, offset), allowed.sum((1, 2))
        numbers = uniform_on_device(seeds, places * self.cfg.drawn, _NEGATIVES)
        drawn = pick(allowed.flatten(1), numbers).view(n, places, -1)
        return *among_drawn(predicted, frames, pool, drawn, offset), torch.full_like(lengths, 1 + self.cfg.drawn)

    def _allowed(self, lengths: Tensor, speakers: Tensor, t: int) -> Tensor:
        """Which frames of all processes may be negatives of each row's, (n, N, t): real ones of its group."""
        n, device = len(lengths), lengths.device
        everyone, offset = (gather(lengths), rank() * n) if self.coupled else (lengths, 0)
        own = torch.arange(len(everyone), device=device) == torch.arange(offset, offset + n, device=device)[:, None]
        if self.cfg.negatives == "batch":
            group = torch.ones_like(own)
        elif self.cfg.negatives == "speaker":
            group = own | ((speakers[:, None] == gather(speakers)) & (speakers >= 0)[:, None])
        else:
            group = own
        real = torch.arange(t, device=device) < everyone[:, None]  # (N, t)
        return group[:, :, None] & real

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """What the convolutions hear, and the context of it; padding changes neither."""
        out = self.encoder(normalised(audio, lengths).to(self.dtype))
        return {"frames": out.extract_features, "context": out.last_hidden_state}

    def frames(self, lengths: Tensor) -> Tensor:
        """One for each whole 160 samples."""
        return (lengths // HOP).clamp(min=1)

    def feature_extractor(self) -> Wav2Vec2FeatureExtractor:
        """The one of wav2vec 2.0: recordings of zero mean and unit variance, so that loudness does not matter."""
        return Wav2Vec2FeatureExtractor(
            sampling_rate=self.rate, padding_value=0.0, do_normalize=True, return_attention_mask=True
        )

    def illustrate(self, batch: Batch) -> Panels:
        """What is heard at the middle of each window, and the frames that are asked for there."""
        real = self.frames(batch["lengths"])[:, None]  # (n, 1)
        place = torch.arange(batch["audio"].shape[1] // HOP, device=real.device)
        asked = (place >= real // 2) & (place < real // 2 + self.cfg.steps)
        return {f"{self.cfg.steps} frames to be found, from all before": (batch["audio"], asked)}


def pick(allowed: Tensor, numbers: Tensor) -> Tensor:
    """Draw among the places that a row allows, all equally likely.

    Args:
        allowed: (n, m) bool.
        numbers: (n, k) in [0, 1).

    Returns:
        (n, k) long: places among the m, or -1 where a row allows none.
    """
    running = allowed.long().cumsum(1)  # (n, m)
    count = running[:, -1:]
    order = (numbers.double() * count).long().clamp(max=count - 1)  # the 0th, 1st, ... that is allowed
    found = torch.searchsorted(running, order + 1)
    return torch.where(count > 0, found, -1)
