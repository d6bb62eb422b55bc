"""Code search by contrast: functions and what their docstrings say, as in CodeSearchNet (Husain et al. 2019, arXiv
1909.09436), with the symmetric objective of CLIP (2103.00020)."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.cells import identity
from modalities.draws import as_signed, uniform
from modalities.task import Batch
from modalities.text.backbones import freeze_pooler
from modalities.text.rows import Row
from modalities.text.sentence_encoder import SentenceEncoder, save_sentence_transformer
from modalities.text.task import TextTask
from objectives.contrastive import clip
from objectives.diagnostics import embedding_std
from objectives.gather import gather, rank, world_size

_LARGEST_LOG_SCALE = math.log(100.0)
_CHARACTERS = 12  # of a token at most, on average over a text: the rest of a long function is not tokenized in vain
_NAME = re.compile(r"\bdef\s+(\w+)")


@dataclass(frozen=True)
class CodeTextConfig:
    """What the encoder reads of a pair, and how sure it starts out."""

    query_length: int = 48
    """Tokens of a docstring that count."""
    code_length: int = 128
    """Tokens of a function that count."""
    hidden_names: float = 0.5
    """Share of training functions that are read without their name, which often repeats the docstring."""
    temperature: float = 0.07
    """Divides the cosines at first; learnt from there."""

    def __post_init__(self) -> None:
        for name in ("query_length", "code_length"):
            if getattr(self, name) < 3:
                raise ValueError(f"task.{name} {getattr(self, name)} leaves no room between the marks; give 3 or more.")
        if not 0 <= self.hidden_names <= 1:
            raise ValueError(f"task.hidden_names {self.hidden_names} is a share, between 0 and 1.")
        if self.temperature < 0.01:
            raise ValueError(f"task.temperature {self.temperature} is below 0.01, the lowest that training allows.")


class CodeTextCollate:
    """Pairs of docstring and code to query_ids and query_mask (n, t), code_ids and code_mask (n, t'), ids (n,) that are
    equal where docstrings are, and in training seeds (n,)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, cfg: CodeTextConfig) -> None:
        self.tokenizer, self.cfg = tokenizer, cfg
        self.length_of = {"query": cfg.query_length, "code": cfg.code_length}

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> Batch:
        """See the class. Without seeds every name is shown."""
        queries, codes = ([row["texts"][place] for row in rows] for place in (0, 1))
        batch: Batch = {"ids": torch.tensor([identity(query.encode()) for query in queries])}
        if seeds is not None:
            seeds = np.asarray(seeds, dtype=np.uint64)
            hidden = uniform(seeds, 1)[:, 0] < self.cfg.hidden_names
            codes = [without_name(code) if hide else code for code, hide in zip(codes, hidden, strict=True)]
            batch["seeds"] = as_signed(seeds)
        for name, texts in (("query", queries), ("code", codes)):
            found = self.tokens(texts, self.length_of[name])
            batch |= {f"{name}_ids": found["input_ids"], f"{name}_mask": found["attention_mask"]}
        return batch

    def tokens(self, texts: Sequence[str], length: int) -> Batch:
        """input_ids and attention_mask, (n, t) long."""
        found = self.tokenizer(
            [text[: _CHARACTERS * length] for text in texts], padding=True, truncation=True, max_length=length
        )
        return {name: torch.tensor(found[name], dtype=torch.long) for name in ("input_ids", "attention_mask")}


class CodeText(TextTask):
    """Match each docstring to its function among all functions of the global batch, and each function to its docstring.

    One encoder reads both: they share most words, so that its embeddings match some of them before any training, and a
    few thousand pairs are enough.

    Batch: see `CodeTextCollate`. Pairs with equal docstrings are not held against each other.
    """

    coupled = True

    def __init__(
        self, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cfg: CodeTextConfig | None = None
    ) -> None:
        super().__init__(tokenizer)
        self.cfg = cfg or CodeTextConfig()
        self.encoder = encoder
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(self.cfg.temperature)))
        freeze_pooler(encoder)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "logit_scale", "query_std", "code_std"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Docstrings (n, d), functions (n, d) and ids (n,)."""
        query, code = (
            self.encode({"input_ids": batch[f"{name}_ids"], "attention_mask": batch[f"{name}_mask"]})
            for name in ("query", "code")
        )
        return query, code, batch["ids"]

    def loss_from(self, query: Tensor, code: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """Local rows against the gathered ones of all processes."""
        others = {}
        if world_size() > 1:
            others = {"all_image": gather(query), "all_text": gather(code), "all_ids": gather(ids)}
        offset = rank() * len(ids)
        return {
            "loss": clip(query, code, self.logit_scale, ids, **others, offset=offset),
            "logit_scale": self.logit_scale.detach().exp(),
            # Near 0 when the embeddings have collapsed onto one point, near 1/sqrt(d) when they fill the sphere.
            "query_std": embedding_std(query.detach()),
            "code_std": embedding_std(code.detach()),
        }

    def after_step(self, progress: float) -> None:
        """Keep the scale between 1 and 100, as CLIP does."""
        self.logit_scale.data.clamp_(0.0, _LARGEST_LOG_SCALE)

    def published(self) -> SentenceEncoder:
        """What the saved folder computes; it shares the task's encoder."""
        return SentenceEncoder(self.encoder, "mean", normalize=True)

    def save(self, folder: Path) -> None:
        """A folder for `SentenceTransformer`, whose root is one for `AutoModel` and `AutoTokenizer`."""
        save_sentence_transformer(
            folder, self.encoder, self.tokenizer, self.cfg.code_length, pooling="mean", normalize=True
        )


def without_name(code: str) -> str:
    """A Python function under the name f, wherever it calls itself by its own."""
    found = _NAME.search(code)
    return re.sub(rf"\b{re.escape(found[1])}\b", "f", code) if found else code
