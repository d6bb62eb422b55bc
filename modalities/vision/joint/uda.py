"""UDA: Xie et al. 2020, arXiv 1904.12848. Few labels, and the same guess on strong views of all pictures."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from objectives.consistency import Annealing, annealed, consistency, withhold
from objectives.gather import gather, world_size
from objectives.predictive import masked_cross_entropy


@dataclass(frozen=True)
class UDAConfig:
    """Few labels, and when and how much the rest counts."""

    labels: float = 0.1
    """Share of the training labels that is seen, the same of every class."""
    labelled_share: float = 0.25
    """Share of each batch's rows that labelled pictures take the place of."""
    weight: float = 1.0
    """Of the consistency beside the labels; the paper's."""
    temperature: float = 0.4
    """Sharpens the guesses on the weak views; the paper's for CIFAR-10."""
    confidence: float = 0.8
    """Probability that the likeliest class of a weak view must exceed to count; the paper's for CIFAR-10."""
    annealing: Annealing = "none"
    """Training signal annealing: leave out labelled pictures that are known too well for so early a step, by a
    threshold that rises to 1 (see `objectives.consistency.annealed`); exp where labels are fewest."""
    classes: int = 0
    """Number of labels; 0 lets the recipe fill it in."""

    def __post_init__(self) -> None:
        if not 0 < self.labels <= 1:
            raise ValueError(f"task.labels {self.labels} is a share of the labels: give more than 0, and at most 1.")
        for name in ("labelled_share", "confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must lie between 0 and 1.")
        for name in ("weight", "classes"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"task.{name} {getattr(self, name)} must not be negative.")
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; the paper has 0.4.")


class UDA(JointTask):
    """Name the class where a label is given, and guess on a strong view what is guessed on the weak one.

    The first view is the weak, the second the strong one. All pictures are asked to be consistent, labelled ones too.
    """

    coupled = True  # by how many rows of the whole batch have a label
    labelled = True
    progress: Tensor  # (), share of the run that is done

    def __init__(self, model: ModelConfig, views: JointViews, cfg: UDAConfig) -> None:
        super().__init__(model, views)
        if not cfg.classes:
            raise ValueError("task.classes is 0, but uda learns from labels too: give data with labels.")
        self.head = nn.Linear(width_of(self.encoder), cfg.classes)
        self.register_buffer("progress", torch.zeros(()))
        self.cfg = cfg

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", its two parts "label_loss" and "consistency", "accuracy" on labelled rows, the share that is
        "confident", "classes_guessed", the effective number of them among all guesses, and signs of health of the
        features}."""
        return self.loss_from(*self.embed(batch))

    def views_in_words(self, rows: int) -> str:
        """See `JointTask`."""
        return f"{rows:,} weak and {rows:,} strong views of {self.crops.first.side} px"

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores of the classes on weak and strong views, (n, c) each; labels (n,), -1 for none; and without gradient
        the features of both views (n, 2, d)."""
        features = self.features(self.large(batch))  # (2n, d)
        weak, strong = self.head(features).chunk(2)
        return weak, strong, batch["labels"], torch.stack(features.detach().chunk(2), 1)

    def loss_from(self, weak: Tensor, strong: Tensor, labels: Tensor, features: Tensor) -> dict[str, Tensor]:
        """Cross-entropy, the mean over labelled rows of all processes, and consistency, the mean over all rows."""
        cfg = self.cfg
        threshold = annealed(cfg.annealing, self.progress, cfg.classes)
        total, count = masked_cross_entropy(weak, withhold(weak, labels, threshold))
        right, known = (weak.argmax(1) == labels).sum(), (labels >= 0).sum()
        counts = gather(torch.stack([count, known])[None]).sum(0).clamp(min=1)  # of all processes
        label_loss = total * world_size() / counts[0]
        unlike, confident = consistency(weak, strong, cfg.temperature, cfg.confidence)
        return {
            "loss": label_loss + cfg.weight * unlike,
            "label_loss": label_loss.detach(),
            "consistency": unlike.detach(),
            "accuracy": right * world_size() / counts[1],
            "confident": confident,
            "classes_guessed": torch.special.entr(weak.detach().softmax(1).mean(0)).sum().exp(),
            **health(features[:, 0], features[:, 1]),
        }

    def after_step(self, progress: float) -> None:
        """The threshold of the annealing rises."""
        self.progress.fill_(progress)

    def logits(self, pixel_values: Tensor) -> Tensor:
        """Scores of the classes, (n, c), for images as the published image processor makes them."""
        scores: Tensor = self.head(self.features(pixel_values))
        return scores
