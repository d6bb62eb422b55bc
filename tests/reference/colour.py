"""Colour classes in loops over plain numbers."""

from math import exp, log

Colour = tuple[float, float]


def squared(left: Colour, right: Colour) -> float:
    return (left[0] - right[0]) ** 2 + (left[1] - right[1]) ** 2


def soft_encoding(colour: Colour, centres: list[Colour], sigma: float = 5.0, nearest: int = 5) -> list[float]:
    """A share for every bin: a Gaussian of the distance on the nearest ones, zero elsewhere."""
    order = sorted(range(len(centres)), key=lambda q: squared(colour, centres[q]))[:nearest]
    raw = [exp(-squared(colour, c) / (2 * sigma**2)) if q in order else 0.0 for q, c in enumerate(centres)]
    return [r / sum(raw) for r in raw]


def weights(colours: list[Colour], centres: list[Colour], uniform: float, sigma: float = 5.0) -> list[float]:
    """1 / (smoothed prior mixed with the uniform one), scaled so that the prior's mean is 1."""
    size = len(centres)
    counts = [0.0] * size
    for colour in colours:
        counts[min(range(size), key=lambda q: squared(colour, centres[q]))] += 1 / len(colours)
    prior = [0.0] * size
    for source in range(size):
        spread = [exp(-squared(centres[source], c) / (2 * sigma**2)) for c in centres]
        for q in range(size):
            prior[q] += counts[source] * spread[q] / sum(spread)
    raw = [1 / ((1 - uniform) * p + uniform / size) for p in prior]
    mean = sum(p * w for p, w in zip(prior, raw, strict=True))
    return [w / mean for w in raw]


def cross_entropy(logits: list[float], shares: list[float]) -> float:
    total = sum(exp(x) for x in logits)
    return -sum(share * log(exp(x) / total) for x, share in zip(logits, shares, strict=True))


def annealed_mean(logits: list[float], centres: list[Colour], temperature: float) -> Colour:
    raw = [exp(x / temperature) for x in logits]
    a, b = (sum(r * c[i] for r, c in zip(raw, centres, strict=True)) / sum(raw) for i in (0, 1))
    return a, b
