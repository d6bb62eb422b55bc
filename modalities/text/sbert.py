"""SBERT: Reimers and Gurevych 2019, arXiv 1908.10084."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.sentence_encoder import Pooling, SentenceTask
from objectives.precision import full_precision, widen


@dataclass(frozen=True)
class SBERTConfig:
    """Options of SBERT."""

    objective: Literal["classification", "regression"] = "classification"
    """classification: the class of a pair from (u, v, |u - v|); regression: its score from the cosine of u and v."""
    classes: int = 2
    """Classes of a pair (classification)."""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"task.classes is {self.classes}; a pair must be of one of 2 classes or more.")


class SBERT(SentenceTask):
    """Say of two sentences what kind of pair they are, or how alike.

    Batch: seeds (n,), input_ids and attention_mask (n, 2, t); labels long (n,) for classification, scores (n,) for
    regression, between -1 and 1, where cosines lie: whoever reads the data sees to that.

    Both heads are sentence-transformers' `SoftmaxLoss` and `CosineSimilarityLoss` in formula. Those take a whole
    `SentenceTransformer` into the task and work in autocast's half precision, so they are written out here.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        cfg: SBERTConfig,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder, tokenizer, length, pooling, dropout)
        self.classifier = nn.Linear(3 * self.width, cfg.classes) if cfg.objective == "classification" else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy"} of classification, {"loss"} of regression."""
        u, v = self.embed_texts(batch, drop=self.training).unbind(1)  # (n, d) each
        if self.classifier is None:
            return {"loss": cosine_regression(u, v, batch["scores"])}
        logits = self.classifier(torch.cat([u, v, (u - v).abs()], dim=1))  # (n, c)
        right = logits.detach().argmax(1) == batch["labels"]
        return {"loss": F.cross_entropy(widen(logits), batch["labels"]), "accuracy": right.to(u.dtype).mean()}


@full_precision
def cosine_regression(u: Tensor, v: Tensor, scores: Tensor) -> Tensor:
    """Mean squared error of the cosine of u and v, (n, d) each, against scores (n,)."""
    return F.mse_loss(F.cosine_similarity(u, v), scores.to(u.dtype))
