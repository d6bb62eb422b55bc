"""MoCo's loss and MoCHi's mixes in loops over plain numbers: slow, and plain to see."""

from math import exp, log, sqrt

from tests.reference.contrastive import Rows, Vector, cosine, dot, mean


def queue_info_nce(
    queries: Rows,
    keys: Rows,
    negatives: Rows,
    temperature: float,
    ignore: list[list[bool]],
    own_negatives: list[Rows],
    ignore_own: list[list[bool]],
) -> float:
    losses = []
    for i, query in enumerate(queries):
        right = exp(cosine(query, keys[i]) / temperature)
        everything = right
        for j, negative in enumerate(negatives):
            if not ignore[i][j]:
                everything += exp(cosine(query, negative) / temperature)
        for j, negative in enumerate(own_negatives[i]):
            if not ignore_own[i][j]:
                everything += exp(cosine(query, negative) / temperature)
        losses.append(-log(right / everything))
    return mean(losses)


def unit(x: Vector) -> Vector:
    size = sqrt(dot(x, x))
    return [value / size for value in x]


def between(share: float, a: Vector, b: Vector) -> Vector:
    return unit([share * x + (1 - share) * y for x, y in zip(a, b, strict=True)])


def mixed_negatives(
    queries: Rows, negatives: Rows, draws: Rows, mixed: int, mixed_with_query: int, hardest: int
) -> list[Rows]:
    made = []
    for query, draw in zip(queries, draws, strict=True):
        near = sorted((unit(negative) for negative in negatives), key=lambda negative: -cosine(query, negative))[
            :hardest
        ]
        first, second, shares = draw[:mixed], draw[mixed : 2 * mixed], draw[2 * mixed : 3 * mixed]
        rest = draw[3 * mixed :]
        mixes = []
        for s in range(mixed):
            mixes.append(between(shares[s], near[int(first[s] * hardest)], near[int(second[s] * hardest)]))
        for s in range(mixed_with_query):
            mixes.append(between(rest[mixed_with_query + s] / 2, unit(query), near[int(rest[s] * hardest)]))
        made.append(mixes)
    return made
