"""The contrast of hidden frames in loops over plain numbers: one frame, one negative at a time."""

from math import exp, log

from tests.reference.contrastive import Rows, cosine


def masked_contrast(
    predicted: Rows, target: Rows, codes: list[list[int]], negatives: list[list[int]], temperature: float
) -> tuple[list[float], list[bool]]:
    """Of the hidden frames of one recording: losses, and whether the target is nearer than every negative."""
    losses, right = [], []
    for guess, wanted, own, others in zip(predicted, target, codes, negatives, strict=True):
        near = cosine(guess, wanted)
        total = exp(near / temperature)
        for other in others:
            if codes[other] != own:
                total += exp(cosine(guess, target[other]) / temperature)
        losses.append(log(total) - near / temperature)
        right.append(all(cosine(guess, target[other]) < near for other in others))
    return losses, right
