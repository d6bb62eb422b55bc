"""AMDIM's contrast between a vector and all places of maps, one score at a time."""

import math


def local_nce(
    source: list[list[float]], maps: list[list[list[float]]], clip: float, first: int = 0
) -> tuple[float, float]:
    """source (n, d); maps (m, p, d); row i of source belongs to map first + i. Mean loss and mean squared score."""
    losses, squares = [], []
    for row, vector in enumerate(source):
        scores = [[sum(a * b for a, b in zip(vector, place, strict=True)) / math.sqrt(len(vector)) for place in one]
                  for one in maps]  # fmt: skip
        squares += [score**2 for one in scores for score in one]
        clipped = [[clip * math.tanh(score / clip) for score in one] for one in scores]
        own = first + row
        wrong = sum(math.exp(score) for number, one in enumerate(clipped) if number != own for score in one)
        losses += [-math.log(math.exp(score) / (math.exp(score) + wrong)) for score in clipped[own]]
    return sum(losses) / len(losses), sum(squares) / len(squares)
