"""ELECTRA: Clark et al. 2020, arXiv 2003.10555."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from modalities.draws import as_signed, uniform_on_device
from modalities.task import Batch
from modalities.text.backbones import ModelConfig, build_model, masked_lm_head
from modalities.text.masking import MaskConfig, MaskedCollate
from modalities.text.packing import PackedRow, packed_inputs
from modalities.text.task import TextTask
from objectives.precision import full_precision, widen
from objectives.predictive import IGNORE, replaced_tokens

# The paper hides every chosen token; the released code leaves 15 % of them in the generator's sight.
RELEASED = MaskConfig(share=0.15, masked=0.85, random=0.0)
PAPER = MaskConfig(share=0.15, masked=1.0, random=0.0)
_FAMILY = ("electra",)


@dataclass(frozen=True)
class ElectraConfig:
    """The generator, and what the discriminator weighs beside it."""

    narrower: int = 4
    """How many times narrower the generator is than the discriminator, in width, heads and feed-forward; the layers are
    as many. The paper found 2 to 4 best."""
    weight: float = 50.0
    """Of the discriminator's loss, beside 1 for the generator's."""
    generator_from: str = ""
    """Start the generator from this checkpoint (folder or Hub id) too, where model.start_from names one."""

    def __post_init__(self) -> None:
        if self.narrower < 1:
            raise ValueError(f"electra.narrower {self.narrower} must be at least 1.")
        if self.weight <= 0:
            raise ValueError(f"electra.weight {self.weight} must be above 0.")


class ElectraCollate(MaskedCollate):
    """Rows with masks, and the seeds (n,) that the generator's samples are drawn from."""

    def __call__(self, rows: Sequence[PackedRow], seeds: npt.NDArray[np.uint64]) -> Batch:
        """See the class."""
        return super().__call__(rows, seeds) | {"seeds": as_signed(np.asarray(seeds, dtype=np.uint64))}


class Electra(TextTask):
    """Tell the tokens of a text from those that a small masked language model put in their place.

    Generator and discriminator share one embedding module (token, position, type and its norm), which the narrower
    generator projects. The discriminator is asked about every token but padding, [CLS] and [SEP] too, as in the
    released code.

    Batch: input_ids and labels (n, t), the latter -100 where the generator has nothing to say; with segments and
    position_ids (n, t) of packed rows, or attention_mask (n, t); seeds (n,).
    """

    def __init__(
        self, model: ModelConfig, tokenizer: PreTrainedTokenizerBase, cfg: ElectraConfig | None = None
    ) -> None:
        super().__init__(tokenizer)
        self.cfg = cfg or ElectraConfig()
        self.encoder = build_model(model, tokenizer, AutoModelForPreTraining, _FAMILY)
        self.generator = build_generator(self.encoder, model, tokenizer, self.cfg)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "count", "generator_loss", "discriminator_loss", "generator_accuracy", "replaced", "accuracy",
        "found"}: replaced is the share of tokens that the generator changed, accuracy the share that the discriminator
        judges rightly, found that of the changed ones."""
        out = self.play(batch)
        real, picked, replaced = _real(batch), batch["labels"] != IGNORE, out["replaced"]
        judged, tokens = replaced_tokens(out["scores"], replaced, real)
        # A row's hidden tokens weigh together as much as all its tokens do. One count then makes the mean of both
        # losses exact over processes and micro-batches; where every row hides the same share it is the plain mean.
        weights = real.sum(1).to(judged) / picked.sum(1).clamp_min(1) / tokens  # (n,)
        targets = batch["labels"][picked]  # (k,)
        misses = F.cross_entropy(widen(out["logits"]), targets, reduction="none")  # (k,)
        generator = (misses * weights[:, None].expand_as(picked)[picked]).sum()
        discriminator = judged / tokens
        verdict = out["scores"] > 0
        return {
            "loss": generator + self.cfg.weight * discriminator,
            "count": tokens,
            "generator_loss": generator.detach(),
            "discriminator_loss": discriminator.detach(),
            "generator_accuracy": (out["logits"].argmax(-1) == targets).sum() / picked.sum().clamp_min(1),
            "replaced": replaced.sum() / tokens,
            "accuracy": ((verdict == replaced) & real).sum() / tokens,
            "found": (verdict & replaced).sum() / replaced.sum().clamp_min(1),
        }

    def play(self, batch: Batch) -> dict[str, Tensor]:
        """One round: {"logits": (k, c) of the generator at the k hidden tokens, "fake": (n, t) the text with what it
        says there, "replaced": (n, t) where that is not the truth, "scores": (n, t) of the discriminator, above 0 for
        replaced}."""
        labels, shown = batch["labels"], batch["input_ids"]
        picked = labels != IGNORE  # (n, t)
        truth = torch.where(picked, labels, shown)
        hidden = self.generator.electra(**_inputs(self.generator, batch, shown)).last_hidden_state  # (n, t, narrower d)
        logits = masked_lm_head(self.generator)(hidden[picked])  # (k, c)
        draws = uniform_on_device(batch["seeds"], labels.shape[1])[picked]  # (k,)
        fake = truth.masked_scatter(picked, sample(logits, draws))  # (n, t)
        scores = self.encoder(**_inputs(self.encoder, batch, fake)).logits  # (n, t)
        return {"logits": logits, "fake": fake, "replaced": fake != truth, "scores": scores}

    def save(self, folder: Path) -> None:
        """The discriminator and the tokenizer in `folder`, the generator in its subfolder `generator`."""
        super().save(folder)
        logging.disable_progress_bar()
        self.generator.save_pretrained(folder / "generator")
        logging.enable_progress_bar()
        self.tokenizer.save_pretrained(folder / "generator")


def build_generator(
    discriminator: PreTrainedModel, model: ModelConfig, tokenizer: PreTrainedTokenizerBase, cfg: ElectraConfig
) -> PreTrainedModel:
    """A masked language model `cfg.narrower` times narrower, on the very embeddings of `discriminator`.

    Raises:
        ValueError: where heads do not divide, or a checkpoint's embeddings have another shape.
    """
    theirs = discriminator.config
    if cfg.generator_from:
        start = replace(model, start_from=cfg.generator_from)
        generator = build_model(start, tokenizer, AutoModelForMaskedLM, _FAMILY)
    else:
        config = copy.deepcopy(theirs)
        for name in ("hidden_size", "num_attention_heads", "intermediate_size"):
            setattr(config, name, getattr(theirs, name) // cfg.narrower)
        if config.num_attention_heads < 1 or config.hidden_size % config.num_attention_heads:
            raise ValueError(
                f"electra.narrower {cfg.narrower} leaves the generator {config.num_attention_heads} heads for a width "
                f"of {config.hidden_size}; choose a number that divides model.heads {theirs.num_attention_heads}."
            )
        generator = AutoModelForMaskedLM.from_config(config, dtype=torch.float32)
    for name in ("vocab_size", "embedding_size", "max_position_embeddings", "type_vocab_size"):
        wanted, found = getattr(theirs, name), getattr(generator.config, name, None)
        if wanted != found:
            raise ValueError(
                f"electra.generator_from {cfg.generator_from!r} has {name} {found} and the discriminator {wanted}; the "
                "two share their embeddings, so take a pair that was trained together."
            )
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.tie_weights()  # its vocabulary projection is the embedding too
    return generator


@full_precision
def sample(logits: Tensor, draws: Tensor) -> Tensor:
    """One token from each row's softmax: logits (k, c), draws (k,) in [0, 1) -> (k,) long. No gradient passes.

    Through the cumulated probabilities: the distribution is that of the largest logit after Gumbel noise, which would
    take c random numbers of each row's seed instead of one.
    """
    cumulated = logits.detach().softmax(-1).cumsum(-1)  # (k, c)
    place = torch.searchsorted(cumulated, draws.to(cumulated)[:, None] * cumulated[:, -1:], right=True)
    return place.squeeze(1).clamp_max(logits.shape[1] - 1)


def _real(batch: Batch) -> Tensor:
    """Which tokens are not padding, bool (n, t)."""
    return (batch["segments"] if "segments" in batch else batch["attention_mask"]) > 0


def _inputs(model: PreTrainedModel, batch: Batch, ids: Tensor) -> dict[str, Any]:
    """What to call a network with, to read `ids` (n, t) where the batch has its tokens."""
    if "segments" in batch:
        return packed_inputs(model, {**batch, "input_ids": ids})
    return {"input_ids": ids, "attention_mask": batch["attention_mask"]}
