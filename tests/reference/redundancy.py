"""Barlow Twins and VICReg in loops over plain numbers: slow, and plain to see."""

from math import sqrt

Vector = list[float]
Rows = list[Vector]


def column(z: Rows, i: int) -> Vector:
    return [row[i] for row in z]


def covariance(a: Vector, b: Vector, divisor: int) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    return sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / divisor


def barlow_twins(z1: Rows, z2: Rows, weight: float, eps: float) -> float:
    n, d, total = len(z1), len(z1[0]), 0.0
    for i in range(d):
        for j in range(d):
            a, b = column(z1, i), column(z2, j)
            scale = sqrt(covariance(a, a, n) + eps) * sqrt(covariance(b, b, n) + eps)
            correlation = covariance(a, b, n) / scale
            total += (1 - correlation) ** 2 if i == j else weight * correlation**2
    return total


def vicreg(z1: Rows, z2: Rows, sim: float, std: float, cov: float, gamma: float, eps: float) -> float:
    n, d = len(z1), len(z1[0])
    distance = sum((x - y) ** 2 for a, b in zip(z1, z2, strict=True) for x, y in zip(a, b, strict=True)) / (n * d)
    variance, covariances = 0.0, 0.0
    for z in (z1, z2):
        for i in range(d):
            deviation = sqrt(covariance(column(z, i), column(z, i), n - 1) + eps)
            variance += max(0.0, gamma - deviation) / d / 2
            for j in range(d):
                if i != j:
                    covariances += covariance(column(z, i), column(z, j), n - 1) ** 2 / d
    return sim * distance + std * variance + cov * covariances


def cosine_gap(prediction: Rows, target: Rows) -> float:
    total = 0.0
    for p, t in zip(prediction, target, strict=True):
        lengths = sqrt(sum(x * x for x in p)) * sqrt(sum(y * y for y in t))
        total += 1 - sum(x * y for x, y in zip(p, t, strict=True)) / lengths
    return total / len(prediction)
