"""Clusters in loops over plain numbers: slow, and plain to see."""

from math import exp, log

from tests.reference.contrastive import Rows, Vector, distance, dot, mean


def cluster_cross_entropy(logits: Rows, labels: list[int], weights: Vector | None = None) -> float:
    total, share = 0.0, 0.0
    for row, label in zip(logits, labels, strict=True):
        if label >= 0:
            weight = 1.0 if weights is None else weights[label]
            total -= weight * log(exp(row[label]) / sum(exp(score) for score in row))
            share += weight
    return total / share if share else 0.0


def percentile(values: Vector, share: float) -> float:
    place = share * (len(values) - 1)
    low, rest, ranked = int(place), place - int(place), sorted(values)
    return ranked[low] if not rest else ranked[low] * (1 - rest) + ranked[low + 1] * rest


def concentration(rows: Rows, centroids: Rows, labels: list[int], temperature: float) -> Vector:
    wide: dict[int, float] = {}
    for cluster, centroid in enumerate(centroids):
        gaps = [distance(row, centroid) for row, label in zip(rows, labels, strict=True) if label == cluster]
        if len(gaps) > 1:
            wide[cluster] = mean(gaps) / log(len(gaps) + 10)
    found = [wide.get(cluster, max(wide.values())) for cluster in range(len(centroids))]
    low, high = percentile(found, 0.1), percentile(found, 0.9)
    clipped = [min(max(value, low), high) for value in found]
    return [temperature * value / mean(clipped) for value in clipped]


def nearest(row: Vector, centroids: Rows) -> int:
    fits = [dot(row, centroid) for centroid in centroids]
    return fits.index(max(fits))


def spherical_kmeans(rows: Rows, start: Rows, rounds: int) -> tuple[Rows, list[int]]:
    """Where no cluster ever runs empty."""
    centroids = start
    for _ in range(rounds):
        labels = [nearest(row, centroids) for row in rows]
        sums = [
            [sum(row[j] for row, label in zip(rows, labels, strict=True) if label == c) for j in range(len(rows[0]))]
            for c in range(len(centroids))
        ]
        centroids = [[x / dot(total, total) ** 0.5 for x in total] for total in sums]
    return centroids, [nearest(row, centroids) for row in rows]
