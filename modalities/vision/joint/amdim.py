"""AMDIM: Bachman et al. 2019, arXiv 1906.00910."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import ConvNextModel, ResNetModel

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig
from modalities.vision.batch_norm import with_global_statistics
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.gather import gather, rank
from objectives.local_nce import local_nce

_SOURCES, _COARSE, _FINE = 64, 65, 66  # streams of draws


@dataclass(frozen=True)
class AMDIMConfig:
    """How features of different views and scales are compared."""

    width: int = 128
    """Of the vectors that are compared."""
    places: int = 16
    """Most places of a map that take part, drawn for each picture where there are more; the paper takes all."""
    clip: float = 20.0
    """Scores are kept below this, softly."""
    penalty: float = 0.04
    """Weight of the squared scores."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.places < 1:
            raise ValueError(f"task.width {self.width} and task.places {self.places} must be at least 1.")
        if not self.clip > 0:
            raise ValueError(f"task.clip {self.clip} must be above 0; 20 is usual.")
        if not self.penalty >= 0:
            raise ValueError(f"task.penalty {self.penalty} must not be negative; 0.04 is usual.")


class AMDIM(JointTask):
    """From one view of a picture, know the places of another view's maps among those of all other pictures.

    The paper's net has maps of 7 x 7 and 5 x 5 places; here they are the second-last two stages of a stock ResNet, of
    whatever size (at 64 pixels 8 x 8 and 4 x 4), and the global vector is the mean of the last one. As in the released
    code the whole predicts both maps, and one drawn place of the coarse map the places of the other view's coarse map.
    """

    coupled = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: AMDIMConfig) -> None:
        super().__init__(model, views)
        if not isinstance(self.encoder, (ResNetModel, ConvNextModel)):
            raise ValueError(
                f"AMDIM compares maps of several sizes, which a {type(self.encoder).__name__} does not have; choose "
                "model.kind resnet or convnext."
            )
        fine, coarse, whole = self.encoder.config.hidden_sizes[-3:]
        self.fine, self.coarse = Projection(fine, cfg.width), Projection(coarse, cfg.width)
        self.whole = Projection(whole, cfg.width)
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", its parts, and signs of health}; "whole_to_coarse" of one who guesses is log((n - 1) * p + 1) for
        maps of p places."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Of the first view the whole (n, d), one place (n, d), the coarse (n, p, d) and the fine map (n, q, d); then
        the same of the second view."""
        seeds = batch["seeds"]
        fine, coarse, last = self.encoder(self.large(batch), output_hidden_states=True).hidden_states[-3:]
        whole = self.whole(last.mean((2, 3))[:, None])[:, 0]  # (2n, d)
        coarse = self.coarse(self._places(coarse, seeds, _COARSE))  # (2n, p, d)
        fine = self.fine(self._places(fine, seeds, _FINE))  # (2n, q, d)
        drawn = uniform_on_device(seeds, 2, _SOURCES).T.flatten() * coarse.shape[1]  # (2n,)
        place = coarse[torch.arange(len(coarse), device=coarse.device), drawn.long()]  # (2n, d)
        views = zip(*(part.chunk(2) for part in (whole, place, coarse, fine)), strict=True)
        return tuple(part for view in views for part in view)

    def _places(self, maps: Tensor, seeds: Tensor, stream: int) -> Tensor:
        """What takes part of maps (2n, c, h, w) of both views: (2n, p, c)."""
        rows = maps.flatten(2).transpose(1, 2)  # (2n, h*w, c)
        if rows.shape[1] <= self.cfg.places:
            return rows
        order = torch.cat(uniform_on_device(seeds, 2 * rows.shape[1], stream).chunk(2, 1))  # (2n, h*w)
        chosen = order.topk(self.cfg.places, largest=False).indices  # (2n, p)
        return rows[torch.arange(len(rows), device=rows.device)[:, None], chosen]

    def loss_from(self, *parts: Tensor) -> dict[str, Tensor]:
        """Three contrasts, each the mean of both directions, and the penalty."""
        first, second = parts[:4], parts[4:]
        found = [self._from(*first[:2], *second[2:]), self._from(*second[:2], *first[2:])]
        losses, penalties = (torch.stack(of_both).mean(0) for of_both in zip(*found, strict=True))  # (3,) each
        named = zip(("whole_to_coarse", "whole_to_fine", "place_to_coarse"), losses.detach(), strict=True)
        return {
            "loss": losses.sum() + self.cfg.penalty * penalties.sum(),
            **dict(named),
            "penalty": self.cfg.penalty * penalties.sum().detach(),
            **health(first[0], second[0]),
        }

    def _from(self, whole: Tensor, place: Tensor, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and squared scores of what one view says of the maps of the other, (3,) each."""
        offset = rank() * len(whole)
        all_coarse, all_fine = gather(coarse), gather(fine)
        found = [
            local_nce(whole, coarse, self.cfg.clip, all_coarse, offset),
            local_nce(whole, fine, self.cfg.clip, all_fine, offset),
            local_nce(place, coarse, self.cfg.clip, all_coarse, offset),
        ]
        losses, squares = zip(*found, strict=True)
        return torch.stack(losses), torch.stack(squares)

    def negatives(self, rows: int) -> int:
        """Places of the coarse maps of all other pictures."""
        side = self.crops.first.side
        with torch.no_grad():
            empty = torch.zeros(1, 3, side, side, dtype=self.dtype, device=next(self.parameters()).device)
            training = self.encoder.training
            maps = self.encoder.eval()(empty, output_hidden_states=True).hidden_states
            self.encoder.train(training)
        return (rows - 1) * min(int(maps[-2][0, 0].numel()), self.cfg.places)


class Projection(nn.Module):
    """Every place (n, p, c) by itself into (n, p, d): a hidden layer beside a straight line, normed."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, width)
        self.out = nn.Linear(width, width, bias=False)
        self.straight = nn.Linear(channels, width, bias=False)
        self.norm = nn.BatchNorm1d(width)
        with_global_statistics(self)

    def forward(self, places: Tensor) -> Tensor:
        """See the class."""
        x = self.out(self.hidden(places).relu()) + self.straight(places)
        return self.norm(x.flatten(0, 1)).view_as(x)
