"""GloVe: Pennington, Socher and Manning 2014, "Global Vectors for Word Representation" (EMNLP), and their C code.

The products of two vectors approach the logarithm of how often the two words met. `forward` is the loss; `update` is
the step of AdaGrad on the few rows that a batch touches, without autograd.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modalities.task import Batch
from modalities.text.vocabulary import Vocabulary
from modalities.text.word_task import WordTask, loss_of
from modalities.text.word_vectors import WordVectors
from objectives.gather import gather


@dataclass(frozen=True)
class GloVeConfig:
    """Options of GloVe."""

    width: int = 100
    """Width of a vector."""
    window: int = 10
    """Words this far apart meet; k places apart count 1/k."""
    most: float = 100.0
    """Pairs that met this often or more have full weight (x_max)."""
    power: float = 0.75
    """Weight of rarer pairs: (count / most) to this power (alpha)."""
    step: int = 2048
    """Pairs between two updates of the tables; gradients within are summed."""

    def __post_init__(self) -> None:
        for name in ("width", "window", "step"):
            if getattr(self, name) < 1:
                raise ValueError(f"glove.{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("most", "power"):
            if getattr(self, name) <= 0:
                raise ValueError(f"glove.{name} is {getattr(self, name)}; it must be above 0.")


class GloVe(WordTask):
    """Say how often two words met. Batch: words and near long (n,), counts float (n,)."""

    def __init__(self, vocabulary: Vocabulary, cfg: GloVeConfig, lower: bool = True) -> None:
        super().__init__(vocabulary, cfg.width, lower)
        self.cfg = cfg
        c, d = len(vocabulary), cfg.width
        self.context = nn.Parameter(torch.empty(c, d).uniform_(-0.5 / d, 0.5 / d))
        self.word_bias, self.context_bias = (nn.Parameter(torch.zeros(c, 1)) for _ in range(2))
        for name, table in zip(self._NAMES, self._tables(), strict=True):
            self.register_buffer(f"{name}_squares", torch.ones_like(table))

    _NAMES = ("word", "context", "word_bias", "context_bias")

    def _tables(self) -> tuple[Tensor, ...]:
        return self.encoder.embedding.weight, self.context, self.word_bias, self.context_bias

    def export(self) -> WordVectors:
        """The sum of both tables, which the paper found best."""
        model = copy.deepcopy(self.encoder)
        with torch.no_grad():
            model.embedding.weight[:-1] += self.context
        return model

    def look_up(self, ids: Tensor) -> Tensor:
        """See `WordTask.look_up`; the unknown word has no context."""
        known = ids < len(self.context)
        return self.encoder.embedding(ids) + self.context[ids.clamp_max(len(self.context) - 1)] * known[..., None]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Mean over pairs of half their weighted squared error."""
        word, context, word_bias, context_bias = self._rows(batch["words"], batch["near"])
        error, weight = self._error(word, context, word_bias, context_bias, batch["counts"])
        return {"loss": (weight * error.square()).mean() / 2}

    def _rows(self, words: Tensor, near: Tensor) -> tuple[Tensor, ...]:
        """Vectors (n, d) twice and biases (n, 1) twice."""
        return tuple(
            table.index_select(0, places)
            for table, places in zip(self._tables(), (words, near, words, near), strict=True)
        )

    def _error(
        self, word: Tensor, context: Tensor, word_bias: Tensor, context_bias: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is said less what is true, and how much it weighs, (n, 1) both."""
        counts = counts.to(word.dtype)[:, None]
        error = (word * context).sum(1, keepdim=True) + word_bias + context_bias - counts.log()
        return error, (counts / self.cfg.most).clamp_max(1).pow(self.cfg.power)

    @torch.no_grad()
    def update(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """AdaGrad on `step` pairs after `step` pairs; every process makes the whole step, with the pairs of all.

        As in the C code, a row is divided by the root of 1 + the sum of the squares of all steps it was to make before;
        here the steps of the same batch count too, for they are made at once.

        Returns: the loss before each update, as the mean over the batch; not a number where the tables no longer are
        after the last.
        """
        words, near, counts = (gather(batch[name]).split(self.cfg.step) for name in ("words", "near", "counts"))
        losses = [self._step(*some, rate) for some in zip(words, near, counts, strict=True)]
        return {"loss": loss_of(torch.stack(losses).sum() / sum(map(len, words)), *self._tables())}

    def _step(self, words: Tensor, near: Tensor, counts: Tensor, rate: float) -> Tensor:
        word, context, word_bias, context_bias = self._rows(words, near)
        error, weight = self._error(word, context, word_bias, context_bias, counts)
        loss = (weight * error.square()).sum() / 2
        pull = error * weight * -rate  # (n, 1)
        changes = (pull * context, pull * word, pull, pull)
        for name, table, places, change in zip(
            self._NAMES, self._tables(), (words, near, words, near), changes, strict=True
        ):
            squares = self.get_buffer(f"{name}_squares")
            squares.index_add_(0, places, change.square())
            table.index_add_(0, places, change * squares.index_select(0, places).rsqrt_())
        return loss
