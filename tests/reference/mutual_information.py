"""Jensen-Shannon mutual information by loops over plain lists."""

import math


def jensen_shannon(local: list[list[list[float]]], whole: list[list[float]], mask: list[list[int]]) -> float:
    total = 0.0
    for row, parts in enumerate(local):
        of_row, count = 0.0, 0
        for part, real in zip(parts, mask[row], strict=True):
            if not real:
                continue
            count += 1
            for other, vector in enumerate(whole):
                score = sum(a * b for a, b in zip(part, vector, strict=True))
                if other == row:
                    of_row += math.log1p(math.exp(-score))
                else:
                    of_row += math.log1p(math.exp(score)) / (len(whole) - 1)
        total += of_row / count
    return total / len(local)
