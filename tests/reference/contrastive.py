"""The contrastive objectives in loops over plain numbers: slow, and plain to see."""

from math import exp, log, sqrt

Vector = list[float]
Rows = list[Vector]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Vector, b: Vector) -> float:
    return dot(a, b) / sqrt(dot(a, a)) / sqrt(dot(b, b))


def distance(a: Vector, b: Vector) -> float:
    return sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def mean(values: Vector) -> float:
    return sum(values) / len(values)


def info_nce(
    queries: Rows, keys: Rows, temperature: float, positive: list[int], ignore: list[list[bool]] | None = None
) -> float:
    losses = []
    for i, query in enumerate(queries):
        denominator = 0.0
        for j, key in enumerate(keys):
            if j == positive[i] or ignore is None or not ignore[i][j]:
                denominator += exp(cosine(query, key) / temperature)
        losses.append(-log(exp(cosine(query, keys[positive[i]]) / temperature) / denominator))
    return mean(losses)


def nt_xent(z1: Rows, z2: Rows, temperature: float) -> float:
    z, n = z1 + z2, len(z1)
    losses = []
    for i in range(2 * n):
        others = sum(exp(cosine(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        losses.append(-log(exp(cosine(z[i], z[(i + n) % (2 * n)]) / temperature) / others))
    return mean(losses)


def clip(image: Rows, text: Rows, logit_scale: float, ids: list[int]) -> float:
    scale = exp(logit_scale)
    total = 0.0
    for i in range(len(image)):
        candidates = [j for j in range(len(image)) if j == i or ids[j] != ids[i]]
        right = exp(scale * cosine(image[i], text[i]))
        total -= log(right / sum(exp(scale * cosine(image[i], text[j])) for j in candidates)) / 2
        total -= log(right / sum(exp(scale * cosine(image[j], text[i])) for j in candidates)) / 2
    return total / len(image)


def siglip(image: Rows, text: Rows, logit_scale: float, bias: float, ids: list[int]) -> float:
    total = 0.0
    for i in range(len(image)):
        for j in range(len(text)):
            if i != j and ids[i] == ids[j]:
                continue
            logit = exp(logit_scale) * cosine(image[i], text[j]) + bias
            probability_of_pair = 1 / (1 + exp(-logit))
            total -= log(probability_of_pair if i == j else 1 - probability_of_pair)
    return total / len(image)


def sup_con(z: Rows, labels: list[int], temperature: float) -> float:
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if positives:
            denominator = sum(exp(cosine(z[i], z[a]) / temperature) for a in others)
            losses.append(mean([-log(exp(cosine(z[i], z[p]) / temperature) / denominator) for p in positives]))
    return mean(losses)


def margin_contrastive(a: Rows, b: Rows, same: list[bool], margin: float) -> float:
    losses = []
    for x, y, together in zip(a, b, same, strict=True):
        d = distance(x, y)
        losses.append(0.5 * d**2 if together else 0.5 * max(0.0, margin - d) ** 2)
    return mean(losses)


def triplet(anchor: Rows, positive: Rows, negative: Rows, margin: float, squared: bool) -> float:
    power = 2 if squared else 1
    losses = []
    for a, p, n in zip(anchor, positive, negative, strict=True):
        losses.append(max(0.0, distance(a, p) ** power - distance(a, n) ** power + margin))
    return mean(losses)


def n_pair(anchor: Rows, positive: Rows, l2: float) -> float:
    losses = []
    for i, a in enumerate(anchor):
        rest = sum(exp(dot(a, n) - dot(a, positive[i])) for j, n in enumerate(positive) if j != i)
        losses.append(log(1 + rest))
    return mean(losses) + l2 * (mean([dot(a, a) for a in anchor]) + mean([dot(p, p) for p in positive]))


def lifted_structured(z: Rows, labels: list[int], margin: float) -> float:
    total, pairs, n = 0.0, 0, len(z)
    for i in range(n):
        for j in range(i + 1, n):
            if labels[i] != labels[j]:
                continue
            push = sum(exp(margin - distance(z[i], z[k])) for k in range(n) if labels[k] != labels[i])
            push += sum(exp(margin - distance(z[j], z[k])) for k in range(n) if labels[k] != labels[j])
            total += max(0.0, distance(z[i], z[j]) + log(push)) ** 2
            pairs += 1
    return total / (2 * pairs)


def soft_nearest_neighbor(z: Rows, labels: list[int], temperature: float) -> float:
    losses = []
    for i in range(len(z)):
        weight = {k: exp(-(distance(z[i], z[k]) ** 2) / temperature) for k in range(len(z)) if k != i}
        same = sum(w for k, w in weight.items() if labels[k] == labels[i])
        if same > 0:
            losses.append(-log(same / sum(weight.values())))
    return mean(losses)


def nce(data_scores: Vector, noise_scores: Rows, data_log_noise: Vector, noise_log_noise: Rows) -> float:
    total = 0.0
    for i in range(len(data_scores)):
        k = len(noise_scores[i])
        model, noise = exp(data_scores[i]), k * exp(data_log_noise[i])
        total -= log(model / (model + noise))
        for score, log_noise in zip(noise_scores[i], noise_log_noise[i], strict=True):
            model, noise = exp(score), k * exp(log_noise)
            total -= log(noise / (model + noise))
    return total / len(data_scores)
