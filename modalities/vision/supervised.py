"""The supervised bound for images, and fine-tuning: cross-entropy on the labels that pretext tasks do without."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.task import Batch
from modalities.vision.backbones import pooled, width_of
from modalities.vision.batch_norm import with_global_statistics
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig


class Classifier(VisionTask):
    """A linear layer on an encoder's features, all of it trained on random views.

    Args:
        encoder: new, or pretrained and then fine-tuned; it is trained in place.
        classes: their names, in the order of the labels.

    Batch: images, seeds, and labels int64 (n,).
    """

    def __init__(self, encoder: PreTrainedModel, views: ViewConfig, classes: list[str]) -> None:
        super().__init__(views)
        self.encoder = with_global_statistics(encoder.train())
        self.classes = classes
        self.head = nn.Linear(width_of(encoder), len(classes))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"} of one view of each image."""
        scores = self.head(pooled(self.encoder, self.pixels(batch)))  # (n, c)
        right = scores.argmax(1) == batch["labels"]
        return {"loss": F.cross_entropy(scores, batch["labels"]), "accuracy": right.to(scores.dtype).mean()}

    def logits(self, pixel_values: Tensor) -> Tensor:
        """Scores of the classes, (n, c), for images as the published image processor makes them."""
        scores: Tensor = self.head(pooled(self.encoder, pixel_values))
        return scores

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """A view of each image, its class and the guess."""
        guesses = self.head(pooled(self.encoder, self.pixels(batch))).argmax(1).tolist()
        return {
            "a view": self.view(batch),
            "class": [self.classes[label] for label in batch["labels"].tolist()],
            "guess": [self.classes[guess] for guess in guesses],
        }
