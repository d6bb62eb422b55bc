"""Token losses and diagnostics in loops over plain numbers."""

from math import exp, log, sqrt

from tests.reference.contrastive import Rows, distance, dot


def cross_entropy(logits: Rows, labels: list[int]) -> tuple[float, int]:
    total, count = 0.0, 0
    for row, label in zip(logits, labels, strict=True):
        if label != -100:
            total -= log(exp(row[label]) / sum(exp(x) for x in row))
            count += 1
    return total, count


def next_token(logits: list[Rows], tokens: list[list[int]], mask: list[list[int]]) -> tuple[float, int]:
    total, count = 0.0, 0
    for i in range(len(tokens)):
        for t in range(len(tokens[i]) - 1):
            if mask[i][t] and mask[i][t + 1]:
                row = logits[i][t]
                total -= log(exp(row[tokens[i][t + 1]]) / sum(exp(x) for x in row))
                count += 1
    return total, count


def replaced_tokens(scores: Rows, replaced: list[list[bool]], real: list[list[bool]]) -> tuple[float, int]:
    total, count = 0.0, 0
    for i in range(len(scores)):
        for t in range(len(scores[i])):
            if real[i][t]:
                p = 1 / (1 + exp(-scores[i][t]))
                total -= log(p if replaced[i][t] else 1 - p)
                count += 1
    return total, count


def unit(row: list[float]) -> list[float]:
    return [x / sqrt(dot(row, row)) for x in row]


def alignment(x: Rows, y: Rows, alpha: float) -> float:
    return sum(distance(unit(a), unit(b)) ** alpha for a, b in zip(x, y, strict=True)) / len(x)


def uniformity(x: Rows, t: float) -> float:
    potential = [exp(-t * distance(unit(a), unit(b)) ** 2) for i, a in enumerate(x) for b in x[:i]]
    return log(sum(potential) / len(potential))
