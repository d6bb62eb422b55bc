"""NT-Xent with weighed negatives in loops over plain numbers: slow, and plain to see."""

from math import exp, log

from tests.reference.contrastive import Rows, cosine, mean


def hard_nt_xent(z1: Rows, z2: Rows, temperature: float, hardness: float, prior: float) -> float:
    z, n = z1 + z2, len(z1)
    losses = []
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        positive = exp(cosine(z[i], z[partner]) / temperature)
        others = [exp(cosine(z[i], z[k]) / temperature) for k in range(2 * n) if k not in (i, partner)]
        importance = [other**hardness for other in others]
        reweighted = sum(w * other for w, other in zip(importance, others, strict=True)) / mean(importance)
        count = len(others)
        negatives = (reweighted - prior * count * positive) / (1 - prior)
        negatives = max(negatives, count * exp(-1 / temperature))
        losses.append(-log(positive / (positive + negatives)))
    return mean(losses)
