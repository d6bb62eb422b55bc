"""S4L: Zhai et al. 2019, arXiv 1905.03670. Few labels, and rotations of all pictures."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.answers import in_words, judge
from modalities.vision.backbones import ModelConfig, normalise, width_of
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from modalities.vision.task import Panels
from objectives.gather import gather, world_size
from objectives.predictive import IGNORE, masked_cross_entropy

_TURNS = 4
_NAMES = ["0°", "90°", "180°", "270°"]


@dataclass(frozen=True)
class S4LConfig:
    """Few labels, and how much the rest counts."""

    labels: float = 0.1
    """Share of the training labels that is seen, the same of every class."""
    labelled_share: float = 0.25
    """Share of each batch's rows that labelled pictures take the place of; half in the paper."""
    weight: float = 1.0
    """Of the rotations beside the labels; the paper's."""
    classes: int = 0
    """Number of labels; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        if not 0 < self.labels <= 1:
            raise ValueError(f"task.labels {self.labels} is a share of the labels: give more than 0, and at most 1.")
        if not 0 <= self.labelled_share <= 1:
            raise ValueError(f"task.labelled_share {self.labelled_share} must lie between 0 and 1.")
        if not self.weight >= 0:
            raise ValueError(f"task.weight {self.weight} must not be negative.")
        if self.classes < 0:
            raise ValueError(f"task.classes {self.classes} must not be negative.")


class S4L(JointTask):
    """Name the class where a label is given, and tell every picture's turn. A step sees the first view of each picture
    in all four turns, and the label holds for each of them."""

    coupled = True  # by how many rows of the whole batch have a label
    labelled = True
    two_views = False

    def __init__(self, model: ModelConfig, views: JointViews, cfg: S4LConfig) -> None:
        super().__init__(model, views)
        if not cfg.classes:
            raise ValueError("task.classes is 0, but s4l learns from labels too: give data with labels.")
        self.head = nn.Linear(width_of(self.encoder), cfg.classes)
        self.turn = nn.Linear(width_of(self.encoder), _TURNS)
        self.weight = cfg.weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", its two parts "label_loss" and "turn_loss", how often either is right, and signs of health: features
        beside those of the next turn}."""
        return self.loss_from(*self.embed(batch))

    def views_in_words(self, rows: int) -> str:
        """See `JointTask`."""
        return f"{super().views_in_words(rows)}, each in {_TURNS} turns"

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores of the classes (n, 4, c) and of the turns (n, 4, 4) in each turn; labels (n,), -1 for none; and
        without gradient the features in the first two turns (n, 2, d)."""
        features = self.features(normalise(all_turns(self.view(batch))))  # (4n, d)
        features = features.view(_TURNS, -1, features.shape[1]).transpose(0, 1)  # (n, 4, d)
        return self.head(features), self.turn(features), batch["labels"], features[:, :2].detach()

    def loss_from(self, classes: Tensor, turns: Tensor, labels: Tensor, features: Tensor) -> dict[str, Tensor]:
        """Cross-entropies: the mean over labelled rows of all processes, and the mean over all rows."""
        labels, guesses = labels.repeat_interleave(_TURNS), classes.flatten(0, 1)  # (4n,), (4n, c)
        total, count = masked_cross_entropy(guesses, torch.where(labels < 0, IGNORE, labels))
        share = world_size() / gather(count[None]).sum().clamp(min=1)  # so that the mean over processes is the mean
        turned = judge(turns.flatten(0, 1), torch.arange(_TURNS, device=turns.device).repeat(len(turns)))
        label_loss, right = total * share, (guesses.argmax(1) == labels).sum() * share
        return {
            "loss": label_loss + self.weight * turned["loss"],
            "label_loss": label_loss.detach(),
            "accuracy": right.detach(),
            "turn_loss": turned["loss"].detach(),
            "turn_accuracy": turned["accuracy"],
            **health(features[:, 0], features[:, 1]),
        }

    def logits(self, pixel_values: Tensor) -> Tensor:
        """Scores of the classes, (n, c), for images as the published image processor makes them."""
        scores: Tensor = self.head(self.features(pixel_values))
        return scores

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """One view in a turn for each row in its turn, and the guesses."""
        views = self.view(batch)
        answers = torch.arange(len(views), device=views.device) % _TURNS
        turned = all_turns(views)[answers * len(views) + torch.arange(len(views), device=views.device)]
        return {"turned": turned, "which turn?": in_words(self.turn(self.features(normalise(turned))), answers, _NAMES)}


def all_turns(views: Tensor) -> Tensor:
    """Every view (n, 3, side, side) in its four turns, turn by turn: (4n, 3, side, side). No pixel is mixed."""
    return torch.cat([views.rot90(turn, (2, 3)) for turn in range(_TURNS)])
