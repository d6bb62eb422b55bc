"""One vector per text: an encoder, how its tokens are pooled, and the `SentenceTransformer` folder that says so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from modalities.task import Batch
from modalities.text.backbones import freeze_pooler, mean_pooled
from modalities.text.collate import TextsCollate
from modalities.text.row_dropout import seed_dropout
from modalities.text.task import TextTask

Pooling = Literal["mean", "cls", "max", "lasttoken"]
"""How tokens become one vector, by the names of sentence-transformers."""


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """hidden (n, t, d), mask (n, t) with padding at the end -> (n, d)."""
    match pooling:
        case "mean":
            return mean_pooled(hidden, mask)
        case "cls":
            return hidden[:, 0]
        case "max":
            return hidden.masked_fill(~mask.bool().unsqueeze(-1), float("-inf")).amax(1)
        case "lasttoken":
            last = mask.sum(1).clamp_min(1) - 1  # (n,)
            return hidden[torch.arange(len(hidden), device=hidden.device), last]


class SentenceEncoder(nn.Module):
    """Encoder and pooling as one module, with the output of a `SentenceTransformer`."""

    def __init__(self, encoder: PreTrainedModel, pooling: Pooling, normalize: bool) -> None:
        super().__init__()
        self.encoder, self.pooling, self.normalize = encoder, pooling, normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """input_ids and attention_mask (n, t) -> {"sentence_embedding": (n, d)}."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (n, t, d)
        pooled = pool(hidden, attention_mask, self.pooling)
        return {"sentence_embedding": F.normalize(pooled, dim=-1) if self.normalize else pooled}


class SentenceTask(TextTask):
    """A method whose encoder is published as a `SentenceTransformer`.

    Args:
        encoder: a stock model with `last_hidden_state`; a pooler that it may have is left as it is.
        tokenizer: saved beside the encoder.
        length: tokens of a text that count; later ones are cut off by whoever loads the folder too.
        pooling: see `Pooling`.
        dropout: share of hidden values that `embed_texts` drops, by the rows' seeds; attention drops none.
        normalize: whether published vectors have length one.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
        normalize: bool = False,
    ) -> None:
        super().__init__(tokenizer)
        self.encoder = encoder
        self.length, self.pooling, self.normalize = length, pooling, normalize
        self.draws = seed_dropout(encoder, dropout)
        freeze_pooler(encoder)

    @property
    def width(self) -> int:
        """Of a vector."""
        return int(self.encoder.config.hidden_size)

    def published(self) -> SentenceEncoder:
        """What the saved folder computes; it shares the task's encoder."""
        return SentenceEncoder(self.encoder, self.pooling, self.normalize)

    def encode(self, batch: Batch) -> Tensor:
        """Vectors as published, without dropout, (n, d): batch has input_ids and attention_mask (n, t)."""
        return self.published()(batch["input_ids"], batch["attention_mask"])["sentence_embedding"]  # type: ignore[no-any-return]

    def embed_texts(self, batch: Batch, drop: bool, times: int = 1) -> Tensor:
        """Every text of every row, read `times` over, pooled and not normalised: (n, v * times, d).

        batch: input_ids and attention_mask (n, v, t), seeds (n,). drop: whether to drop hidden values; each text, and
        each reading of it, then has its own mask.
        """
        ids, mask = batch["input_ids"], batch["attention_mask"]
        n, v = ids.shape[0], ids.shape[1] * times
        ids, mask = (x.repeat(1, times, 1).flatten(0, 1) for x in (ids, mask))  # (n*v, t) each
        if drop:
            with self.draws.from_rows(batch["seeds"], v):
                hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state  # (n*v, t, d)
        else:
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state  # (n*v, t, d)
        return pool(hidden, mask, self.pooling).view(n, v, -1)

    def save(self, folder: Path) -> None:
        """A folder for `SentenceTransformer`, whose root is one for `AutoModel` and `AutoTokenizer`."""
        save_sentence_transformer(folder, self.encoder, self.tokenizer, self.length, self.pooling, self.normalize)


def save_sentence_transformer(
    folder: Path,
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    pooling: Pooling = "mean",
    normalize: bool = False,
) -> None:
    """Write `encoder` with what `SentenceTransformer(folder)` needs to know to give the same vectors."""
    # Two seconds that nobody who trains should wait for.
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    parts = [
        modules.Transformer(str(folder), max_seq_length=length),
        modules.Pooling(int(encoder.config.hidden_size), pooling),
        *([modules.Normalize()] if normalize else []),
    ]
    SentenceTransformer(modules=parts, device="cpu").save(str(folder), create_model_card=False)
    logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@torch.inference_mode()
def encode_texts(
    encoder: SentenceEncoder, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], length: int, batch: int = 64
) -> NDArray[np.float32]:
    """Vectors of texts cut at `length` tokens, (n, d), in their order; texts of like length are read together."""
    collate, device = TextsCollate(tokenizer, length), encoder.encoder.device
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.zeros((len(texts), int(encoder.encoder.config.hidden_size)), dtype=np.float32)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        tokens = collate.tokens([texts[place] for place in places])
        out = encoder(**{name: tensor.to(device) for name, tensor in tokens.items()})
        found[places] = out["sentence_embedding"].float().cpu().numpy()
    return found
