"""RotNet: Gidaris et al. 2018, arXiv 1803.07728."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.answers import in_words, judge
from modalities.vision.backbones import ModelConfig, build_encoder, normalise, pooled, width_of
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig

_WHICH = 1  # stream of draws


@dataclass(frozen=True)
class RotationConfig:
    """How pictures are turned."""

    turns: int = 4
    """4 tells apart 0, 90, 180 and 270 degrees; 2 upright from upside down."""

    def __post_init__(self) -> None:
        if self.turns not in (2, 4):
            raise ValueError(f"task.turns is {self.turns}; only 2 and 4 turns of a square need no resampling.")


class Rotation(VisionTask):
    """Tell by how much each picture was turned. A step sees every view in all its turns: batch * turns pictures."""

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: RotationConfig) -> None:
        super().__init__(views)
        self.encoder = build_encoder(model)
        self.head = nn.Linear(width_of(self.encoder), cfg.turns)
        self.turns = cfg.turns

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"}; chance is 1 / turns."""
        turned = self.all_turns(self.view(batch))  # (turns*n, 3, h, w)
        answers = torch.arange(self.turns, device=turned.device).repeat_interleave(len(batch["seeds"]))
        return judge(self.guess(turned), answers)

    def all_turns(self, views: Tensor) -> Tensor:
        """Every view in every turn, (turns*n, 3, h, w).

        The crop comes first and the turn moves pixels without mixing them. A turn that resamples leaves traces that
        upright pictures lack, and those are easier to see than which way is up.
        """
        step = 4 // self.turns
        return torch.cat([views.rot90(step * k, (2, 3)) for k in range(self.turns)])

    def guess(self, turned: Tensor) -> Tensor:
        """Pictures (n, 3, h, w) in [0, 1] -> logits of their turn (n, turns)."""
        logits: Tensor = self.head(pooled(self.encoder, normalise(turned)))
        return logits

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Each view in one of its turns, and turned back by what was guessed."""
        views = self.view(batch)
        answers = (uniform_on_device(batch["seeds"], 1, _WHICH)[:, 0] * self.turns).long()  # (n,)
        turned = self.all_turns(views).unflatten(0, (self.turns, -1))[answers, range(len(views))]
        logits = self.guess(turned)
        undo = -logits.argmax(1) % self.turns
        back = self.all_turns(turned).unflatten(0, (self.turns, -1))[undo, range(len(views))]
        names = [f"{360 // self.turns * k}°" for k in range(self.turns)]
        return {"turned": turned, "which turn?": in_words(logits, answers, names), "turned back as guessed": back}
