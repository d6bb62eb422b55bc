"""Multiple choice: the loss of a guess, how often it is right, and both in words for the picture sheet."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def judge(logits: Tensor, answers: Tensor) -> dict[str, Tensor]:
    """{"loss", "accuracy"} of logits (n, c) and answers (n,): mean cross-entropy in nats, share of right guesses."""
    wide = logits if logits.dtype.itemsize > 4 else logits.float()
    return {"loss": F.cross_entropy(wide, answers), "accuracy": (logits.argmax(1) == answers).float().mean()}


def in_words(logits: Tensor, answers: Tensor, names: Sequence[str]) -> list[str]:
    """What was right and what was guessed, one line for each row of logits (n, c); names are those of the c choices."""
    pairs = zip(answers.tolist(), logits.argmax(1).tolist(), strict=True)
    return [f"answer: {names[answer]}\nguessed: {names[guess]}" for answer, guess in pairs]
