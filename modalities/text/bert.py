"""BERT: Devlin et al. 2018, arXiv 1810.04805; RoBERTa (1907.11692), ALBERT (1909.11942) and ModernBERT (2412.13663) by
`ModelConfig.family`."""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.backbones import MASKED, ModelConfig, build_model, masked_lm_head
from modalities.text.packing import packed_inputs
from modalities.text.task import TextTask
from objectives.precision import widen
from objectives.predictive import IGNORE, masked_cross_entropy

Pairs = Literal["none", "nsp", "sop"]
_WITH_PAIRS = {"bert": "cls.seq_relationship", "albert": "sop_classifier"}


class Bert(TextTask):
    """Say which tokens were hidden; with `pairs` also whether two segments follow one another.

    Args:
        model: bert, roberta, albert, modernbert or electra.
        pairs: "nsp", the second segment is the next one or one of another document; "sop", the two are in their order
            or swapped (ALBERT). Of bert and albert, whose stock classes have a head for it.

    Batch: input_ids and labels (n, t), labels -100 where nothing is asked; with segments and position_ids (n, t) of
    packed rows, or attention_mask (n, t); with `pairs` token_type_ids (n, t) and pair_labels (n,), 0 where the segments
    follow one another.
    """

    def __init__(self, model: ModelConfig, tokenizer: PreTrainedTokenizerBase, pairs: Pairs = "none") -> None:
        super().__init__(tokenizer)
        self.pairs = pairs
        head, families = (AutoModelForMaskedLM, MASKED) if pairs == "none" else (AutoModelForPreTraining, _WITH_PAIRS)
        self.encoder = build_model(model, tokenizer, head, families)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "count", "accuracy"}, and of pairs "masked_loss", "pair_loss", "pair_accuracy".

        The vocabulary is scored at the k hidden tokens only.
        """
        logits, targets, pooled = self.predict(batch)
        total, count = masked_cross_entropy(logits, targets)
        some = count.clamp_min(1)
        found = {"loss": total / some, "count": count, "accuracy": (logits.argmax(-1) == targets).sum() / some}
        if self.pairs == "none":
            return found
        scores = widen(self._pair_head()(pooled))  # (n, 2)
        # A row's pair weighs as much as its hidden tokens do: then one count makes the mean of both losses exact over
        # processes and micro-batches, and where rows have equal counts it is the plain mean.
        weights = (batch["labels"] != IGNORE).sum(1).to(scores.dtype) / some  # (n,)
        pair = F.cross_entropy(scores, batch["pair_labels"], reduction="none") @ weights
        right = (scores.argmax(-1) == batch["pair_labels"]).to(scores.dtype) @ weights
        of_pairs = {"masked_loss": found["loss"].detach(), "pair_loss": pair.detach(), "pair_accuracy": right}
        return found | of_pairs | {"loss": found["loss"] + pair}

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores of the vocabulary for the k hidden tokens (k, c), what they were (k,), and the pooled output (n, d) of
        models that have one."""
        out = self.encoder.base_model(**self._inputs(batch))
        picked = batch["labels"] != IGNORE  # (n, t)
        logits = masked_lm_head(self.encoder)(out.last_hidden_state[picked])
        return logits, batch["labels"][picked], out.get("pooler_output")

    def judge(self, batch: Batch) -> Tensor:
        """Scores of the pairs, (n, 2): that the segments follow one another, and that they do not."""
        scores: Tensor = self._pair_head()(self.encoder.base_model(**self._inputs(batch)).pooler_output)
        return scores

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        if "segments" in batch:
            return packed_inputs(self.encoder, batch)
        names = ("input_ids", "attention_mask", "token_type_ids")
        return {name: batch[name] for name in names if name in batch}

    def _pair_head(self) -> nn.Module:
        return self.encoder.get_submodule(_WITH_PAIRS[self.encoder.config.model_type])
