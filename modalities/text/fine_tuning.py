"""Fine-tuning: Devlin et al. 2018, arXiv 1810.04805, section 4. A stock model with a new head learns from answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from modalities.task import Batch
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.task import TextTask
from objectives.precision import widen
from objectives.predictive import IGNORE


class FineTuning(TextTask):
    """What the three questions share: a stock model with a head, called with everything but the labels."""

    def forget(self) -> None:
        """New weights everywhere, from torch's global generator: what pretraining is compared with."""
        self.encoder = type(self.encoder)(self.encoder.config)
        self.begin()

    def begin(self) -> None:
        """What a new head starts with, beyond its random weights."""

    def logits(self, batch: Batch) -> Tensor:
        """What the head says: (n, c), or (n, t, c) of tokens."""
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        logits: Tensor = self.encoder(**inputs).logits
        return logits


class SequenceClassification(FineTuning):
    """One class for a text or a pair of texts, by the stock head, so that what is saved loads with it; the supervised
    bound of frozen features, which are means over tokens, is `supervised.TextClassifier`.

    Batch: input_ids, attention_mask and perhaps token_type_ids (n, t); labels (n,).
    """

    def __init__(self, model: ModelConfig, tokenizer: PreTrainedTokenizerBase, classes: Sequence[str]) -> None:
        super().__init__(tokenizer)
        self.encoder = _with_head(AutoModelForSequenceClassification, model, tokenizer, classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"} of the batch."""
        logits = self.logits(batch)
        right = logits.argmax(1) == batch["labels"]
        return {"loss": F.cross_entropy(widen(logits), batch["labels"]), "accuracy": right.to(logits.dtype).mean()}


class PairRegression(FineTuning):
    """One number for a pair of texts: how alike they are.

    Args:
        scores: of the training rows. A head with a bias begins near their mean (those of GPT-2 and Llama have none, and
            begin near 0), and the loss is in units of their variance, so that 1 is what the mean alone earns; the model
            itself speaks in the scores' own units.

    Batch: input_ids, attention_mask and perhaps token_type_ids (n, t); labels (n,).
    """

    def __init__(self, model: ModelConfig, tokenizer: PreTrainedTokenizerBase, scores: ArrayLike) -> None:
        super().__init__(tokenizer)
        self.encoder = _with_head(AutoModelForSequenceClassification, model, tokenizer, ["score"], "regression")
        given = np.asarray(scores, dtype=np.float64)
        self.mean, self.variance = float(given.mean()), float(given.var())
        if not self.variance > 0:
            raise ValueError(f"All {given.size} training rows have one score; check data.score_column.")
        self.begin()

    def begin(self) -> None:
        """Say the mean, as far as a bias can."""
        last = [part for part in self.encoder.modules() if isinstance(part, nn.Linear) and part.out_features == 1][-1]
        if last.bias is not None:
            nn.init.constant_(last.bias, self.mean)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss"}: squared error over the variance of the scores."""
        said = widen(self.logits(batch).squeeze(1))  # (n,)
        return {"loss": F.mse_loss(said, batch["labels"].to(said.dtype)) / self.variance}


class TokenClassification(FineTuning):
    """One class for each word, at its first token.

    Batch: input_ids and attention_mask (n, t); labels (n, t), -100 where nothing is asked.
    """

    def __init__(self, model: ModelConfig, tokenizer: PreTrainedTokenizerBase, classes: Sequence[str]) -> None:
        super().__init__(tokenizer)
        self.encoder = _with_head(AutoModelForTokenClassification, model, tokenizer, classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "count"} over the tokens that are asked about."""
        logits, labels = self.logits(batch).flatten(0, 1), batch["labels"].flatten()  # (n*t, c), (n*t,)
        asked = labels != IGNORE
        count = asked.sum()
        total = F.cross_entropy(widen(logits), labels, ignore_index=IGNORE, reduction="sum")
        right = (logits.argmax(1) == labels) & asked
        share = right.sum().to(total.dtype) / count.clamp_min(1)
        return {"loss": total / count.clamp_min(1), "accuracy": share, "count": count}


@torch.inference_mode()
def answers(task: FineTuning, batch: Batch) -> Tensor:
    """What a trained task says, on the CPU: classes (n,) or (n, t), or scores (n,) of a regression."""
    device = task.encoder.device
    logits = task.logits({name: tensor.to(device) for name, tensor in batch.items()}).float().cpu()
    return logits.squeeze(1) if isinstance(task, PairRegression) else logits.argmax(-1)


def _with_head(
    auto: Any, cfg: ModelConfig, tokenizer: PreTrainedTokenizerBase, names: Sequence[str], kind: str | None = None
) -> PreTrainedModel:
    options: dict[str, Any] = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }
    if kind:
        options["problem_type"] = kind
    if not cfg.start_from:
        # The head's dropout is that of the rest, whatever the family calls it.
        options |= {"classifier_dropout": cfg.dropout, "classifier_dropout_prob": cfg.dropout}
    model = build_model(cfg, tokenizer, auto, **options)
    if model.config.pad_token_id is None:  # GPT-2's has none, and could not tell where a text ends
        model.config.pad_token_id = tokenizer.pad_token_id
    return model
