"""The supervised bound: the same encoder trained on the labels that self-supervised methods do without."""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.task import Batch, Task


class Supervised(Task):
    """Cross-entropy of a linear layer on an encoder's pooled output.

    Args:
        encoder: a model whose output has `pooler_output`, (n, width) or, for ResNets, (n, width, 1, 1).
        width: size of that output. classes: number of labels.

    Batch: whatever the encoder takes, and labels (n,).
    """

    def __init__(self, encoder: PreTrainedModel, width: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"} of the batch."""
        logits = self.logits(batch)
        correct = logits.argmax(1) == batch["labels"]
        return {"loss": F.cross_entropy(logits.float(), batch["labels"]), "accuracy": correct.float().mean()}

    def logits(self, batch: Batch) -> Tensor:
        """Scores of the classes, (n, classes)."""
        scores: Tensor = self.head(self.encode(batch))
        return scores

    def encode(self, batch: Batch) -> Tensor:
        """Pooled features, (n, width)."""
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        pooled: Tensor = self.encoder(**inputs).pooler_output
        return pooled.flatten(1)
