"""UDA's consistency in loops over plain numbers: slow, and plain to see."""

from math import exp, log

from tests.reference.contrastive import Rows, Vector, mean


def softmax(logits: Vector) -> Vector:
    total = sum(exp(value) for value in logits)
    return [exp(value) / total for value in logits]


def consistency(plain: Rows, altered: Rows, temperature: float, confidence: float) -> float:
    losses = []
    for one, other in zip(plain, altered, strict=True):
        target, guess = softmax([value / temperature for value in one]), softmax(other)
        divergence = sum(p * (log(p) - log(q)) for p, q in zip(target, guess, strict=True))
        losses.append(divergence if max(softmax(one)) > confidence else 0.0)
    return mean(losses)


def withhold(logits: Rows, labels: list[int], threshold: float) -> list[int]:
    kept = []
    for row, label in zip(logits, labels, strict=True):
        kept.append(label if label >= 0 and softmax(row)[label] <= threshold else -100)
    return kept
