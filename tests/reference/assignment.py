"""Balanced assignment in loops over plain numbers: slow, and plain to see."""

from math import exp, log

Rows = list[list[float]]


def sinkhorn(scores: Rows, epsilon: float, iterations: int) -> Rows:
    n, k = len(scores), len(scores[0])
    q = [[exp(score / epsilon) for score in row] for row in scores]
    for _ in range(iterations):
        for j in range(k):
            column = sum(q[i][j] for i in range(n))
            for i in range(n):
                q[i][j] /= column * k
        for i in range(n):
            row = sum(q[i])
            q[i] = [value / (row * n) for value in q[i]]
    return [[value * n for value in row] for row in q]


def swapped_prediction(scores: list[Rows], codes: list[Rows], temperature: float) -> float:
    losses = []
    for c, code in enumerate(codes):
        for v, view in enumerate(scores):
            if v == c:
                continue
            for target, row in zip(code, view, strict=True):
                denominator = sum(exp(score / temperature) for score in row)
                losses.append(
                    -sum(
                        share * log(exp(score / temperature) / denominator)
                        for share, score in zip(target, row, strict=True)
                    )
                )
    return sum(losses) / len(losses)
