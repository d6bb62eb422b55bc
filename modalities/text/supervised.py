"""The supervised bound: the same encoder trained on the labels that self-supervised methods do without."""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.task import TextTask
from objectives.precision import widen


class TextClassifier(TextTask):
    """Cross-entropy of a linear layer on the mean over tokens, the features that probes see, so that it bounds them; a
    classifier to publish, with its family's stock head, is `fine_tuning.SequenceClassification`.

    Batch: input_ids and attention_mask (n, 1, t), as `TextsCollate` gives them of rows of one text; labels (n,).
    """

    def __init__(self, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, classes: int) -> None:
        super().__init__(tokenizer)
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"} of the batch."""
        logits = self.logits({name: batch[name].squeeze(1) for name in ("input_ids", "attention_mask")})
        right = logits.argmax(1) == batch["labels"]
        return {"loss": F.cross_entropy(widen(logits), batch["labels"]), "accuracy": right.float().mean()}

    def logits(self, batch: Batch) -> Tensor:
        """Scores of the classes, (n, classes): batch has input_ids and attention_mask (n, t)."""
        scores: Tensor = self.head(self.encode(batch))
        return scores
