"""Matches and non-matches of Dense Object Nets, and PixelNCE, one pair at a time."""

import math

Vector = list[float]


def matches(anchors: list[list[Vector]], positives: list[list[Vector]], matched: list[list[bool]]) -> tuple[float, int]:
    """anchors, positives (n, k, d), matched (n, k): sum of squared distances and number of pairs."""
    pairs = [
        math.dist(a, p) ** 2
        for of_a, of_p, of_m in zip(anchors, positives, matched, strict=True)
        for a, p, m in zip(of_a, of_p, of_m, strict=True) if m
    ]  # fmt: skip
    return sum(pairs), len(pairs)


def non_matches(
    anchors: list[list[Vector]], others: list[list[Vector]], apart: list[list[list[bool]]], margin: float
) -> tuple[float, int]:
    """anchors (n, k, d), others (n, q, d), apart (n, k, q): sum of squared violations and number of violated pairs."""
    violations = [
        margin - math.dist(a, o)
        for of_a, of_o, of_m in zip(anchors, others, apart, strict=True)
        for a, row in zip(of_a, of_m, strict=True)
        for o, m in zip(of_o, row, strict=True) if m and math.dist(a, o) < margin
    ]  # fmt: skip
    return sum(short**2 for short in violations), len(violations)


def pixel_nce(
    anchors: list[list[Vector]],
    positives: list[list[Vector]],
    others: list[list[Vector]],
    matched: list[list[bool]],
    apart: list[list[list[bool]]],
    temperature: float,
) -> tuple[float, int]:
    """Sum over anchors that are matched of the cross-entropy, and their number."""

    def score(a: Vector, b: Vector) -> float:
        return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / temperature)

    losses = []
    for row, of_a in enumerate(anchors):
        for place, a in enumerate(of_a):
            if matched[row][place]:
                right = score(a, positives[row][place])
                wrong = sum(score(a, o) for o, m in zip(others[row], apart[row][place], strict=True) if m)
                losses.append(-math.log(right / (right + wrong)))
    return sum(losses), len(losses)
