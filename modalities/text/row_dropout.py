"""Dropout that belongs to a row: its mask is a function of the row's seed, the text's place in the row and the layer.

SimCSE's views differ by dropout alone, so dropout is data there, and must be the same on one process or eight, in
micro-batches, and after a restart.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from modalities.draws import uniform_on_device


class DropoutDraws:
    """What the dropouts of one encoder draw from; shared by them all."""

    def __init__(self) -> None:
        self._seeds: Tensor | None = None
        self._views = self._calls = 0

    @contextmanager
    def from_rows(self, seeds: Tensor, views: int) -> Iterator[None]:
        """Within, the encoder drops, whether it is in training mode or not; without, it never does.

        seeds: int64 (n,); views: texts of each row, so that the encoder reads (n * views, t), those of a row together.
        """
        self._seeds, self._views, self._calls = seeds, views, 0
        try:
            yield
        finally:
            self._seeds = None

    def kept(self, shape: torch.Size, rate: float) -> Tensor | None:
        """Which of (n * v, ...) hidden values stay: bool of that shape, anew at each call; None outside `from_rows`."""
        if self._seeds is None:
            return None
        rows, each = shape[0] // self._views, shape[1:].numel()
        assert rows == len(self._seeds), f"{shape[0]} texts for {len(self._seeds)} seeds of {self._views} views"
        # Numbers are counted from the first token on, so that padding, which other processes have more of, moves none.
        first = 1 + self._calls * self._views
        drawn = [uniform_on_device(self._seeds, each, stream) for stream in range(first, first + self._views)]
        self._calls += 1
        return (torch.stack(drawn, 1) >= rate).view(shape)


class RowDropout(nn.Dropout):
    """In the place of a stock encoder's `nn.Dropout`. It has no weights, so the encoder's class and checkpoint stay."""

    def __init__(self, rate: float, draws: DropoutDraws) -> None:
        # Attention reads p and drops by torch's own generator inside the kernel: it is to find 0.
        super().__init__(0.0)
        self.rate, self.draws = rate, draws

    def forward(self, input: Tensor) -> Tensor:
        """(n * v, t, d) or (n * v, d), of which a share of `rate` is 0 and the rest scaled up."""
        if not self.rate or input.dim() > 3:  # attention probabilities, (n * v, heads, t, t): see above
            return input
        kept = self.draws.kept(input.shape, self.rate)
        return input if kept is None else torch.where(kept, input / (1 - self.rate), 0.0)


def seed_dropout(encoder: nn.Module, rate: float) -> DropoutDraws:
    """Give every dropout of hidden states in `encoder` this rate and one source of draws, and turn dropout of attention
    off. The encoder then drops inside `draws.from_rows(...)` only.

    Only modules that are there can drop: where ModernBERT was built with a rate of 0, `nn.Identity` stands in its
    attention's output, and its embeddings and feed-forward parts alone drop.

    Raises:
        ValueError: for a rate above 0 and an encoder without dropout of hidden states, as Llama is.
    """
    draws, found = DropoutDraws(), False
    for module in list(encoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, RowDropout(rate, draws))
                found = True
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    if rate and not found:
        raise ValueError(
            f"model.dropout {rate} would drop nothing, for {type(encoder).__name__} has no dropout of hidden states; "
            "choose bert, roberta or another such model.family, or set model.dropout 0."
        )
    return draws
