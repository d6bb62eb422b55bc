"""SimCSE: Gao et al. 2021, arXiv 2104.08821, unsupervised and supervised."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modalities.task import Batch
from modalities.text.sentence_encoder import Pooling, SentenceTask
from objectives.contrastive import info_nce, own_columns
from objectives.diagnostics import alignment, embedding_std, uniformity
from objectives.gather import gather, rank


@dataclass(frozen=True)
class SimCSEConfig:
    """Options of SimCSE."""

    temperature: float = 0.05
    """Divides the cosines."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"task.temperature is {self.temperature}; it must be above 0.")


class SimCSE(SentenceTask):
    """Find a sentence's other view, or the sentence that belongs to it, among those of the global batch.

    Batch: seeds (n,), input_ids and attention_mask (n, v, t). v = 1: a sentence, read twice through different dropout
    (unsupervised). v = 2: a sentence and its positive. v = 3: and a hard negative, held against every sentence.

    The head is for training alone, as the paper's unsupervised form has it: vectors are measured and published
    without. Dropout of attention, which the paper has too, is off: it could not be drawn from the rows' seeds.
    """

    coupled = True

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        length: int,
        cfg: SimCSEConfig,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(encoder, tokenizer, length, pooling, dropout)
        self.temperature, self.dropout = cfg.temperature, dropout
        self.head = nn.Sequential(nn.Linear(self.width, self.width), nn.Tanh())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "alignment", "uniformity", "embedding_std"}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """First view, second view or positive, and the negative where there is one: (n, d) each."""
        alone = batch["input_ids"].shape[1] == 1
        if alone and not self.dropout:
            raise ValueError("model.dropout is 0, so that both views of a sentence would be the same; raise it.")
        # In whatever mode an evaluation left the encoder: dropout is this method's data.
        views = self.embed_texts(batch, drop=True, times=2 if alone else 1)  # (n, v, d)
        return self.head(views).unbind(1)  # type: ignore[no-any-return]

    def loss_from(self, first: Tensor, second: Tensor, negative: Tensor | None = None) -> dict[str, Tensor]:
        """Local first views against the second views and negatives of all processes."""
        keys = gather(second)  # (m, d)
        own = own_columns(len(first), len(keys), rank() * len(first), first.device)
        if negative is not None:
            keys = torch.cat([keys, gather(negative)])  # (2m, d)
        with torch.no_grad():
            unit = nn.functional.normalize(first.detach(), dim=-1)
            nearest = (unit @ nn.functional.normalize(keys.detach(), dim=-1).T).argmax(1)
        return {
            "loss": info_nce(first, keys, self.temperature, own),
            "accuracy": (nearest == own).to(first.dtype).mean(),
            "alignment": alignment(first.detach(), second.detach()),
            "uniformity": uniformity(first.detach()),
            # Near 0 when the embeddings have collapsed onto one point, near 1/sqrt(d) when they fill the sphere.
            "embedding_std": embedding_std(first.detach()),
        }
